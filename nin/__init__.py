"""Noise Injection Nodes: attach one to a network, train it, and name the phase it is in.

>>> import nin, torch
>>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
>>> node, x, y = nin.attach(net, "0", 0.5), torch.randn(64, 4), torch.randint(3, (64,))
>>> [history] = nin.train([net], nin.Dataset(x, y, x, y), eta=0.1, batch_size=16, epochs=2)
>>> assert nin.classify_phase(history).phase in nin.Phase
"""

from typing import TYPE_CHECKING

from nin.faces import lazy_face

if TYPE_CHECKING:
    from nin.curvature import LocalLoss, NodeReport, Report, report
    from nin.linear import simulate
    from nin.networks import MLP, Dataset, Loss, NoiseInjection, Observer, attach, detach, train
    from nin.networks.data import load
    from nin.networks.recorder import Recorder
    from nin.runs import History, Phase, PhaseFinding, classify_phase, fit_decay, time_to
    from nin.studies import FIG1, FIG2, FIG3, Experiment, run_or_load

__version__ = "0.1.0"
__all__ = [
    "FIG1", "FIG2", "FIG3", "MLP", "Dataset", "Experiment", "History", "LocalLoss", "Loss",
    "NodeReport", "NoiseInjection", "Observer", "Phase", "PhaseFinding", "Recorder", "Report",
    "attach", "classify_phase", "detach", "fit_decay", "load", "report", "run_or_load",
    "simulate", "time_to", "train",
]  # fmt: skip
__getattr__, __dir__ = lazy_face(
    __name__, __all__, ("runs", "linear", "networks", "studies", "curvature")
)
