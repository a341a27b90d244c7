"""The losses against PyTorch's own, and their hand-written gradients against autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nin.networks.losses import MSE_NORMS, Loss, accuracy

RUNS, BATCH, D = 2, 5, 4
LOSSES = [Loss("ce"), *(Loss("mse", norm) for norm in MSE_NORMS)]
FACTORS = {"mean": 1 / D, "half_mean": 1 / (2 * D), "half_sum": 1 / 2, "sum": 1.0}


def draw() -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, labels and targets of a few runs."""
    g = torch.Generator().manual_seed(0)
    z = torch.randn(RUNS, BATCH, D, generator=g, dtype=torch.float64) * 3
    y = torch.randint(D, (RUNS, BATCH), generator=g)
    return z, y, torch.randn(RUNS, BATCH, D, generator=g, dtype=torch.float64)


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)  # float64 rounding of a few terms


def test_cross_entropy_is_pytorchs() -> None:
    z, y, _ = draw()
    peer = F.cross_entropy(z.flatten(0, 1), y.flatten(), reduction="none").view(RUNS, BATCH)
    close(Loss("ce").values(z, y), peer)


@pytest.mark.parametrize("norm", MSE_NORMS)
def test_squared_error_is_pytorchs_times_its_factor(norm: str) -> None:
    z, y, targets = draw()
    loss = Loss("mse", norm)
    for labels, expected in ((y, F.one_hot(y, D).double()), (targets, targets)):
        peer = F.mse_loss(z, expected, reduction="none").sum(-1) * FACTORS[norm]
        close(loss.values(z, labels), peer)


def test_the_default_squared_error_is_the_libraries_mean() -> None:
    z, _, targets = draw()
    close(Loss("mse").values(z, targets).mean(), F.mse_loss(z, targets))


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_gradient_is_autograds(loss: Loss) -> None:
    z, y, _ = draw()
    z.requires_grad_()
    [peer] = torch.autograd.grad(loss.values(z, y).sum(), z)
    close(loss.gradient(z.detach(), y), peer)


@pytest.mark.parametrize("norm", MSE_NORMS)
def test_gradient_towards_targets_is_autograds(norm: str) -> None:
    z, _, targets = draw()
    z.requires_grad_()
    loss = Loss("mse", norm)
    [peer] = torch.autograd.grad(loss.values(z, targets).sum(), z)
    close(loss.gradient(z.detach(), targets), peer)


def test_cross_entropy_of_huge_logits_is_finite_and_right() -> None:
    z = torch.tensor([[1e4, 0.0, -1e4]])
    values = [Loss("ce").values(z, torch.tensor([k])).item() for k in range(3)]
    assert values == [0.0, 1e4, 2e4]


def test_a_uniform_guess_costs_log_d() -> None:
    z = torch.zeros(1, 10, dtype=torch.float64)
    close(Loss("ce").values(z, torch.tensor([3])), torch.full((1,), 10.0).double().log())


def test_accuracy_counts_the_largest_output() -> None:
    z = torch.eye(4).expand(2, 4, 4)
    labels = torch.tensor([[0, 1, 2, 3], [0, 0, 0, 3]])
    assert accuracy(z, labels).tolist() == [1.0, 0.5]
    assert accuracy(z, F.one_hot(labels, 4).float()).tolist() == [1.0, 0.5]


def test_unknown_names_are_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="loss must be 'ce' or 'mse', not 'nll'"):
        Loss("nll")
    with pytest.raises(ValueError, match=r"mse_norm must be one of \['half_mean', .*\], not 'max'"):
        Loss("mse", "max")
