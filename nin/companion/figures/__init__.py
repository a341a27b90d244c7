"""The figures: each function draws data into axes that it is given."""

from nin.companion.figures.border_bars import (
    ACTIVATION_COLORS,
    add_legend,
    draw_borders,
    draw_comparison,
    draw_comparisons,
    draw_outcomes,
)  # fmt: skip
from nin.companion.figures.border_dots import (
    draw_beyond,
    draw_choices,
    draw_curvatures,
    draw_spreads,
)  # fmt: skip
from nin.companion.figures.decays import draw_decays, draw_memories, draw_times
from nin.companion.figures.feature_areas import draw_roc, draw_told
from nin.companion.figures.halving import draw_halving
from nin.companion.figures.ledger_dots import VERDICT_STYLES, add_verdict_legend, draw_ledger
from nin.companion.figures.node_panels import draw_falls, draw_loss_rates, draw_sight
from nin.companion.figures.panels import (
    draw_first_steps,
    draw_phase_bar,
    draw_phases,
    draw_two_bars,
)  # fmt: skip
from nin.companion.figures.powers import draw_powers
from nin.companion.figures.rates import (
    add_ratio_legend,
    add_slope_legend,
    draw_bias,
    draw_costs,
    draw_pulls,
    draw_ratios,
    draw_slopes,
    draw_window,
)  # fmt: skip
from nin.companion.figures.style import NEXT, NIW, PHASE_COLORS, SIGMA_EPS, TEST, TRAIN, use_style

__all__ = [
    "ACTIVATION_COLORS", "NEXT", "NIW", "PHASE_COLORS", "SIGMA_EPS", "TEST", "TRAIN",
    "VERDICT_STYLES", "add_legend", "add_ratio_legend", "add_slope_legend", "add_verdict_legend",
    "draw_beyond", "draw_bias", "draw_borders", "draw_choices", "draw_comparison",
    "draw_comparisons", "draw_costs", "draw_curvatures", "draw_decays", "draw_falls",
    "draw_first_steps", "draw_halving", "draw_ledger", "draw_loss_rates", "draw_memories",
    "draw_outcomes", "draw_phase_bar", "draw_phases", "draw_powers", "draw_pulls", "draw_ratios",
    "draw_roc", "draw_sight", "draw_slopes", "draw_spreads", "draw_times", "draw_told",
    "draw_two_bars", "draw_window", "use_style",
]  # fmt: skip
