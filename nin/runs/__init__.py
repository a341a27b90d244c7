"""What a run leaves and how to read it: histories, phases, averages, decay times and fits."""

from nin.runs.averages import course, mean, mean_and_spread, middle
from nin.runs.bisection import Border, find_border
from nin.runs.crossings import Crossings
from nin.runs.decay_fit import DecayFit, Outcome, decay_window, fit_decay
from nin.runs.history import CLEAN_QUANTITIES, History, log_spaced_steps
from nin.runs.phases import Phase, PhaseFinding, classify_phase, most_common_phase, phase_index
from nin.runs.times import (
    Estimate,
    decay_times,
    first_crossing,
    initial_time,
    local_powers,
    plateau_end,
    time_to,
)  # fmt: skip

__all__ = [
    "CLEAN_QUANTITIES", "Border", "Crossings", "DecayFit", "Estimate", "History", "Outcome",
    "Phase", "PhaseFinding", "classify_phase", "course", "decay_times", "decay_window",
    "find_border", "first_crossing", "fit_decay", "initial_time", "local_powers",
    "log_spaced_steps", "mean", "mean_and_spread", "middle", "most_common_phase", "phase_index",
    "plateau_end", "time_to",
]  # fmt: skip
