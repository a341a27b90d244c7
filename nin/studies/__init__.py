"""Experiments on record: what a run is, how it is kept, and the studies made of runs."""

from typing import TYPE_CHECKING

from nin.faces import lazy_face

if TYPE_CHECKING:
    from nin.studies.experiments import FIG1, FIG2, FIG3, TABLE1, Experiment, experiment
    from nin.studies.records import RecordError
    from nin.studies.run import RunRecord, run_or_load, run_seeds
    from nin.studies.study import Shelf, kept, train_runs
    from nin.studies.sweep import kept_all, spread

__all__ = [
    "FIG1", "FIG2", "FIG3", "TABLE1", "Experiment", "RecordError", "RunRecord", "Shelf",
    "experiment", "kept", "kept_all", "run_or_load", "run_seeds", "spread", "train_runs",
]  # fmt: skip
__getattr__, __dir__ = lazy_face(
    __name__, __all__, ("records", "experiments", "study", "run", "sweep")
)
