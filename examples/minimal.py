"""The paper in one file: a noise injection node, plain SGD, and the four phases that they show.

One random number per image, eps, enters the hidden layer through weights of its own, w_ni, which
learn like all others. Its standard deviation sigma_eps decides what becomes of the network.
Runs in seconds, on Fashion-MNIST from $NIN_DATA or data/, downloaded if need be.
"""

import hashlib
import os
from pathlib import Path

import torch
from torch import Tensor
from torchvision.datasets import FashionMNIST

N_IMAGES, N_W, ETA, BATCH_SIZE, EPOCHS = 10_000, 64, 0.05, 100, 2
SIGMA_EPS = 0.3, 15, 30, 60


def load() -> tuple[Tensor, Tensor]:
    """Return images of 784 pixels, with mean 0 and standard deviation 1, and one-hot labels."""
    folder = os.environ.get("NIN_DATA") or Path(__file__).resolve().parents[1] / "data"
    data = FashionMNIST(folder, download=True)
    x = data.data[:N_IMAGES].flatten(1) / 255
    return (x - x.mean()) / x.std(), torch.eye(10)[data.targets[:N_IMAGES]]


def stream(seed: int, *name: object) -> torch.Generator:
    """Return the generator of one purpose: what it draws depends on no other draw."""
    digest = hashlib.sha256(repr((seed, *name)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def initial_weights(seed: int) -> list[Tensor]:
    """Draw weights of variance 1/fan-in, w_ni as if eps were one more pixel; biases are 0."""
    g = stream(seed, "weights")
    W1, b1 = torch.randn(N_W, 784, generator=g) * 784**-0.5, torch.zeros(N_W)
    W2, b2 = torch.randn(10, N_W, generator=g) * N_W**-0.5, torch.zeros(10)
    w_ni = torch.randn(N_W, generator=stream(seed, "w_ni")) * 784**-0.5
    return [w.requires_grad_() for w in (W1, b1, W2, b2, w_ni)]


def train(weights: list[Tensor], x: Tensor, y: Tensor, sigma_eps: float, seed: int) -> Tensor:
    """Run SGD in place while the loss is finite; return |w_ni| and that loss before each step."""
    W1, b1, W2, b2, w_ni = weights
    course: list[tuple[float, float]] = []
    for epoch in range(EPOCHS):
        order = torch.randperm(len(x), generator=stream(seed, "batches", epoch))
        eps = sigma_eps * torch.randn(len(x), generator=stream(seed, "eps", epoch))
        for i in order.split(BATCH_SIZE):
            z = x[i] @ W1.T + b1 + eps[i].outer(w_ni)  # the noise injection node
            loss = (z.relu() @ W2.T + b2 - y[i]).square().mean()
            if not loss.isfinite():
                return torch.tensor(course)
            course.append((w_ni.norm().item(), loss.item()))
            for w, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                w.data -= ETA * gradient
    return torch.tensor(course)


def find_phase(course: Tensor) -> tuple[str, Tensor]:
    """Return the phase and its evidence: peak and end of |w_ni| and loss, over their starts."""
    w, loss = (course / course[0]).T
    evidence = torch.stack([w.max(), w[-1], loss.max(), loss[-10:].quantile(0.5)])
    w_rose, w_stays, loss_rose, loss_stays = evidence > 1.1  # a smaller rise may be chance
    if len(course) < EPOCHS * N_IMAGES / BATCH_SIZE or (w_stays and loss_stays):
        return "divergent", evidence
    if w_rose and loss_rose:
        return "catapult", evidence
    return "decay" if w[-1] < 0.5 else "decoupled", evidence


if __name__ == "__main__":
    torch.set_num_threads(1)  # matrices as small as these gain nothing from more
    x, y = load()
    print("sigma_eps  phase      |w_ni| peak, end    loss peak, end    steps   (1 = at the start)")
    for sigma_eps in SIGMA_EPS:
        course = train(initial_weights(seed=0), x, y, sigma_eps, seed=0)
        phase, evidence = find_phase(course)
        print(f"{sigma_eps:9}  {phase:10}", *(f"{e:9.3g}" for e in evidence), f"{len(course):6}")
