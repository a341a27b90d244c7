"""Noise Injection Nodes: attach one to a network, train it, and name the phase it is in.

>>> import nin, torch
>>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
>>> node = nin.attach(net, "0", sigma_eps=0.5)
>>> x, y = torch.randn(64, 4), torch.randint(3, (64,))
>>> [history] = nin.train([net], nin.Dataset(x, y, x, y), eta=0.1, batch_size=16, epochs=2)
>>> nin.classify_phase(history).phase in nin.Phase
True
"""

from nin.networks.data import Dataset
from nin.networks.nodes import NoiseInjection, attach, detach
from nin.networks.recorder import Recorder
from nin.networks.training import train
from nin.runs.history import History
from nin.runs.phases import Phase, PhaseFinding, classify_phase

__all__ = [
    "Dataset",
    "History",
    "NoiseInjection",
    "Phase",
    "PhaseFinding",
    "Recorder",
    "attach",
    "classify_phase",
    "detach",
    "train",
]
