"""Estimates of the local Hessian's trace against the Hessian itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.func import functional_call
from torch.func import hessian as hessian_of
from torch.nn.functional import cross_entropy

from nin.curvature.local import LocalLoss
from nin.networks.seeds import generator
from nin.studies.experiments import FIG1
from nin.studies.study import Shelf, images
from nin.studies.traces import Estimates, estimates, hessian_operator

# curvlinops makes torch compile in a way that torch itself is giving up.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is:FutureWarning")
SMALL = dataclasses.replace(FIG1, width=24, depth=2, activation="softplus")
SIZES = {
    "reaches": (0.1, 0.3, 5.0),
    "batches": 2,
    "draws": 300,
    "directions": 5,
    "steps": 4,
    "matvecs": (4, 12),
    "repeats": 3,
}


def local_losses() -> tuple[list[LocalLoss], list[tuple[torch.Tensor, torch.Tensor]]]:
    data, model = images(SMALL.scaling, SMALL.split_seed), SMALL.network().eval()
    n = SIZES["batches"] * SMALL.batch_size  # type: ignore[operator]
    parts = (part[:n].split(SMALL.batch_size) for part in (data.train_x, data.train_y))
    batches = list(zip(*parts, strict=True))
    loss = SMALL.criterion().values
    return [LocalLoss(model, "layers.0", x, y, loss) for x, y in batches], batches


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Estimates:
    shelf = Shelf(tmp_path_factory.mktemp("trace"), "curvature", workers=1)
    return estimates(SMALL, 0, shelf, **SIZES)


def test_the_librarys_operator_is_the_local_hessian() -> None:
    local, batches = local_losses()
    operator = hessian_operator(local[0].model, "layers.0", batches)
    w = torch.randn(24, generator=generator(0, "w"))
    ours = torch.stack([one.mean_product(w) for one in local]).mean(0)
    assert torch.allclose(operator @ w, ours, rtol=1e-4, atol=1e-6)  # float32, sums of 256 samples


def test_every_estimate_is_of_the_same_trace(found: Estimates) -> None:
    local, _ = local_losses()
    true = float(np.mean([one.trace()[0] for one in local])) / 24
    best, err = found.reference
    assert abs(best - true) < 4.5 * err + 0.02 * true  # an error of three draws is no sure one
    for each in (found.hutchinson, found.one_step[0].mean(1)):
        # False alarm below 1e-5; the fourth order at a reach of 0.1 is below 1 %.
        assert abs(each.mean() - true) < 4.5 * each.std() / len(each) ** 0.5 + 0.01 * true


def test_strong_noise_reads_another_curvature_than_that_at_the_point(found: Estimates) -> None:
    each = found.one_step[2].mean(1)
    assert each.mean() + 4.5 * each.std() / len(each) ** 0.5 < found.reference[0]


def test_errors_fall_with_the_root_of_the_cost_and_stop_at_the_bias(found: Estimates) -> None:
    cost = np.array([10.0, 40.0, 1e9])
    for error in (found.hutchinson_error(cost), found.probe_error(cost, 1)):
        assert error[0] > error[1] > error[2]
    assert found.probe_error(cost, 2)[2] > 0.2  # the bias of strong noise
    assert found.hutchinson_error(cost)[0] / found.hutchinson_error(cost)[1] < 2.01


def test_mirror_images_take_the_kick_out(found: Estimates) -> None:
    weak = found.one_step[0]
    assert weak.mean(1).std() < 0.7 * weak[:, 0].std()


def test_each_direction_has_its_own_curvature(found: Estimates) -> None:
    local, _ = local_losses()
    spectrum = torch.linalg.eigvalsh(torch.stack([x.mean_hessian() for x in local]).mean(0))
    assert found.own.min() > float(spectrum[0]) and found.own.max() < float(spectrum[-1])
    assert found.top == pytest.approx(float(spectrum[-1]), rel=0.03)  # Lanczos stops at 1 %
    assert found.decay.shape == (5, 4)


def test_the_network_is_trained_without_noise_before(tmp_path: Path) -> None:
    data, peer = images(SMALL.scaling, SMALL.split_seed), SMALL.network()
    optimiser = torch.optim.SGD(peer.parameters(), lr=SMALL.eta)
    order = torch.randperm(len(data.train_x), generator=generator(SMALL.seed, "batches", 0))
    for batch in order.split(SMALL.batch_size):
        optimiser.zero_grad()
        cross_entropy(peer(data.train_x[batch]), data.train_y[batch]).backward()
        optimiser.step()
    peer.eval().requires_grad_(False)
    x, y = (part[: 2 * SMALL.batch_size] for part in (data.train_x, data.train_y))

    def loss(bias: torch.Tensor) -> torch.Tensor:
        return cross_entropy(functional_call(peer, {"layers.0.bias": bias}, x), y)

    hessian = hessian_of(loss)(peer.get_parameter("layers.0.bias"))
    top = float(torch.linalg.eigvalsh(hessian)[-1])
    few = SIZES | {"draws": 4, "directions": 1}
    trained = estimates(
        dataclasses.replace(SMALL, sigma_eps=5.0), 1, Shelf(tmp_path, "curvature"), **few
    )
    # Rounding, and Lanczos, leave 1e-6; an epoch with noise of strength 1 would change it by 9e-5.
    assert trained.top == pytest.approx(top, rel=2e-5)


def test_what_cannot_be_had_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected loss='ce'"):
        estimates(dataclasses.replace(SMALL, loss="mse"), 0, Shelf(tmp_path, "curvature"))
