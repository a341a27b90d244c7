"""Experiments on record: what a run is, how it is kept, and the studies made of runs."""

from nin.studies.experiment import FIG1, FIG2, FIG3, TABLE1, Experiment, experiment
from nin.studies.records import RecordError, RunRecord
from nin.studies.sweep import run_or_load, run_seeds

__all__ = [
    "FIG1", "FIG2", "FIG3", "TABLE1", "Experiment", "RecordError", "RunRecord", "experiment",
    "run_or_load", "run_seeds",
]  # fmt: skip
