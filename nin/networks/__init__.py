"""What trains: data, losses, networks, noise injection nodes, and the one training loop."""

from nin.networks.attachment import NoiseInjection, attach, detach, find_node, nodes, one_node
from nin.networks.data import Dataset, load
from nin.networks.losses import Loss
from nin.networks.models import MLP
from nin.networks.recorder import Recorder
from nin.networks.seeds import generator
from nin.networks.training import Observer, train

__all__ = [
    "MLP", "Dataset", "Loss", "NoiseInjection", "Observer", "Recorder", "attach", "detach",
    "find_node", "generator", "load", "nodes", "one_node", "train",
]  # fmt: skip
