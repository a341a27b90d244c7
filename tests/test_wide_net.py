"""The two-layer linear network of Lewkowycz et al. (2020), against autograd and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nin.companion.claims import catapult
from nin.linear.wide_net import WideRuns, follow_map, peak_slope, train_wide


def by_autograd(
    width: int, eta_lam: float, seed: int, y: float, steps: int
) -> tuple[list[float], list[float]]:
    """Gradient descent on all weights by torch, and the curvature as the largest of the Hessian."""
    u, v = map(torch.tensor, np.random.default_rng([seed, width]).standard_normal((2, width)))
    w = torch.cat([u, v]).requires_grad_()

    def output(w: torch.Tensor) -> torch.Tensor:
        return w[:width] @ w[width:] / width**0.5

    eta, losses, curvatures = 0.0, [], []
    for _ in range(steps + 1):
        (slope,) = torch.autograd.grad(output(w), w)
        kernel = float(slope @ slope)  # what the Gauss-Newton matrix of one sample has
        eta = eta or eta_lam / kernel
        loss = (output(w) - y) ** 2 / 2
        losses.append(float(loss.detach()))
        curvatures.append(eta * kernel)
        (gradient,) = torch.autograd.grad(loss, w)
        w = (w - eta * gradient).detach().requires_grad_()
    return losses, curvatures


@pytest.mark.parametrize(("eta_lam", "y"), [(1.5, 0.0), (3.0, 0.0), (3.5, 1.0)])
def test_runs_are_gradient_descent_by_autograd(eta_lam: float, y: float) -> None:
    runs = train_wide(40, eta_lam, [3], y=y, steps=25)
    losses, curvatures = by_autograd(40, eta_lam, 3, y, 25)
    ended = np.flatnonzero(np.diff(runs.loss[0]) == 0)
    last = int(ended[0]) + 1 if len(ended) else 26
    assert last > 8
    # Rounding grows with the output while that grows.
    np.testing.assert_allclose(runs.loss[0, :last], losses[:last], rtol=1e-8)
    np.testing.assert_allclose(runs.eta_lam[0, :last], curvatures[:last], rtol=1e-10)


def test_the_catapult_ends_a_run_below_two_and_beyond_four_none_recovers() -> None:
    ends = {c: train_wide(500, c, range(12)) for c in (1.9, 2.1, 3.9, 4.1)}
    assert [bool(r.rises.any()) for r in ends.values()] == [False, True, True, True]
    assert [bool(r.diverged.any()) for r in ends.values()] == [False, False, False, True]
    assert (ends[3.9].eta_lam[:, -1] < 2).all() and ends[4.1].diverged.all()


def test_no_peak_is_higher_than_the_bound_of_the_proof() -> None:
    """g^2 <= lambda / (4 - lambda), with g^2 = 2 eta^2 loss / n; see the chapter on the phases."""
    for c in (2.5, 3.5, 3.9):
        runs = train_wide(300, c, range(12))
        assert (2 * runs.eta**2 * runs.peak / 300 <= c / (4 - c)).all()


def test_the_map_of_the_noise_is_what_the_weights_do() -> None:
    runs = train_wide(200, 3.3, range(5), steps=60)
    loss, eta_lam = follow_map(runs)
    changed = np.diff(runs.loss, prepend=0) != 0  # until a run has ended
    np.testing.assert_allclose(loss[changed], runs.loss[changed], rtol=1e-7)
    np.testing.assert_allclose(eta_lam[changed], runs.eta_lam[changed], rtol=1e-7)


def test_the_slope_of_the_peak_s_time_is_that_of_the_map_at_any_width() -> None:
    for c in (2.3, 3.7):
        times = []
        for width in (1e8, 1e28):  # no weights: the map takes a start alone
            start = np.array([[0.5] * 400]), np.full((1, 400), c)
            eta = np.full(1, c / 2)
            times.append(int(follow_map(WideRuns(int(width), eta, *start))[0].argmax()))
        slope = (times[1] - times[0]) / np.log(1e20)
        assert slope == pytest.approx(peak_slope(c), abs=2 / np.log(1e20))  # whole steps


def test_slopes_against_the_width_are_those_of_made_runs() -> None:
    g = np.random.default_rng(1)
    runs = []
    for n in (100, 1000, 10_000, 100_000):
        loss = np.full((30, 20), 0.5)
        late = np.rint(2 + 1.3 * np.log(n)).astype(int)
        loss[:, late] = 3.0 * n**0.8 * np.exp(0.1 * g.standard_normal(30))
        runs.append(WideRuns(n, np.ones(30), loss, np.full((30, 20), 2.5)))
    made = tuple(runs)
    slope, err, count = catapult.against_width(made, "peak")
    assert count == 120 and abs(slope - 0.8) < 4 * err < 0.02
    slope, err, _ = catapult.against_width(made, "peak_step", of="n / loss_0")
    assert slope == pytest.approx(1.3, abs=0.1)  # whole steps


@pytest.mark.parametrize("wrong", [{"width": 0}, {"eta_lam": 0.0}, {"seeds": []}, {"steps": 0}])
def test_what_is_out_of_range_is_named(wrong: dict) -> None:
    with pytest.raises(ValueError, match="expected width >= 1, eta_lam > 0, steps >= 1 and a seed"):
        train_wide(**{"width": 5, "eta_lam": 1.0, "seeds": [0], **wrong})
