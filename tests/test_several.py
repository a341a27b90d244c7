"""Several nodes at once: what a look sees, against autodiff, closed forms and plain training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.func import functional_call, grad, jacrev

import nin
from nin.networks.attachment import nodes
from nin.studies.several import BASE, Stage, Together, several, with_nodes
from nin.studies.study import Shelf, images_of

TINY = replace(BASE, width=6, d_in=49, batch_size=3000, epochs=2, sigma_eps=3.0)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Together:
    shelf = Shelf(tmp_path_factory.mktemp("several"), "proposals", workers=1)
    return several([TINY], shelf, images=100)[0]


def stage(e: nin.Experiment, images: int, pairs: int = 4) -> Stage:
    data = images_of(e)
    return Stage([0], data.train_x[:images], data.train_y[:images], e.criterion(), pairs)


def test_the_network_is_the_experiment_s_and_so_is_the_node_at_its_first_layer() -> None:
    model, paper = with_nodes(TINY), TINY.network()
    found = nodes(model)
    assert list(found) == ["pixels", *(f"mlp.layers.{i}" for i in range(3))]
    x = images_of(TINY).train_x[:9]
    assert torch.equal(model.eval()(x), paper.eval()(x))
    unit = [49 / TINY.eta, 49 / TINY.eta, 6 / TINY.eta, 6 / TINY.eta]
    K = [node.sigma_eps**2 / u for node, u in zip(found.values(), unit, strict=True)]
    assert K == pytest.approx([TINY.K] * 4)


def test_blocks_of_the_hessian_are_those_of_autodiff_by_the_weights() -> None:
    """The Hessian of 408 weights, formed, against signs on the local one and what a layer reads."""
    e = replace(TINY, activation="softplus")
    model, look = with_nodes(e), stage(e, 400)
    look.see(0, 0, model, look.x, look.y, torch.empty(0))
    row = look.rows[0]
    weights = {n: p.detach() for n, p in model.named_parameters()}
    model.eval()

    def loss(name: str, p: torch.Tensor) -> torch.Tensor:
        z = functional_call(model, weights | {name: p}, look.x)
        return torch.nn.functional.cross_entropy(z, look.y)

    for i in range(3):
        name = f"mlp.layers.{i}.weight"
        block = jacrev(grad(lambda p, name=name: loss(name, p)))(weights[name])
        trace = float(block.reshape(weights[name].numel(), -1).trace())
        assert row["block"][i] == pytest.approx(trace, rel=0.1)  # 1600 signs: 1 to 2 %
    assert row["input_sq"][0] == pytest.approx(float(look.x.square().sum(1).mean()), rel=1e-5)


def test_curvature_along_w_ni_is_that_of_a_shift_of_the_pre_activations() -> None:
    """By the second difference of the batch's loss as one step of all eps, noise being a shift."""
    e = replace(TINY, activation="softplus")
    model, look = with_nodes(e).double(), stage(e, 50)
    look.x = look.x.double()
    look.see(0, 0, model, look.x, look.y, torch.empty(0))
    h = 1e-3
    for i, node in enumerate(nodes(model).values()):
        losses = []
        for eps in (h, 0.0, -h):
            for other in nodes(model).values():
                other.eps = torch.full((50,), eps if other is node else 0.0).double()
            with torch.no_grad():
                losses.append(float(look.loss.values(model.train()(look.x), look.y).mean()))
        second = (losses[0] - 2 * losses[1] + losses[2]) / h**2
        size_sq = float(node.w_ni.detach().square().sum())
        assert look.rows[0]["along"][i] == pytest.approx(second / size_sq, rel=1e-4)


def test_in_a_linear_network_a_pull_goes_as_the_square_of_what_lies_behind_it() -> None:
    """Squared error: the local Hessian is the square of the product of the matrices behind."""
    e = replace(TINY, activation="linear", loss="mse", sigma_eps=1.0)
    found = stage(e, 8000, pairs=16).powers(with_nodes(e), 1.25)
    closed = [[2, 2, 2], [0, 2, 2], [0, 0, 2], [0, 0, 0]]
    assert found == pytest.approx(np.array(closed), abs=0.15)  # the draws of the other nodes


def test_looking_changes_nothing_and_sees_the_weights_that_train(seen: Together) -> None:
    model, data = with_nodes(TINY), images_of(TINY)
    start = [float(node.w_ni.detach().norm()) for node in nodes(model).values()]
    nin.train([model], data, eta=TINY.eta, batch_size=3000, epochs=2, seeds=[0], evaluations=0)
    end = [float(node.w_ni.detach().norm()) for node in nodes(model).values()]
    assert seen.size[0] == pytest.approx(start, rel=1e-6)
    assert seen.size[-1] == pytest.approx(end, rel=1e-6)
    assert seen.step[-1] == 2 * 14
    assert seen.powers.shape == (2, 4, 3)


def exponential() -> Together:
    """Nodes that decay by their curvature, at a network whose layers read inputs of one size."""
    step, rate = np.array([0, 1, 5, 20, 100]), np.array([0.1, 0.01, 0.001])
    along, sigma = rate / 0.5, np.ones(3)
    block = np.array([[6.0, 8.0]] * 5)
    trace = np.column_stack([np.ones(5), block / [3.0, 2.0]])
    return Together(
        eta=0.5, sigma_eps=sigma, features=np.array([7, 4, 2]), step=step,
        size=np.exp(-np.outer(step, rate)), along=np.tile(along, (5, 1)), trace=trace, block=block,
        input_sq=np.array([[3.0, 2.0]] * 5), pull=trace / [7, 4, 2], loss=np.full(5, 2.0),
        slope_sq=np.full(5, 8.0), powers=np.zeros((2, 3, 2)),
    )  # fmt: skip


def test_an_exponential_decay_is_explained_by_its_curvature_as_far_as_it_is_followed() -> None:
    measured, said, pulled = exponential().falls(left=0.5)
    assert measured == pytest.approx(said)
    assert pulled == pytest.approx([2.5 / 7, 5, 100])  # eta times the pull, to steps 5, 20, 100
    assert measured == pytest.approx([0.5, 0.2, 0.1])  # the first is below a half at step 20


def test_nodes_whose_pull_is_the_mean_eigenvalue_add_up_to_the_trace() -> None:
    found = exponential()
    assert found.trace_by_nodes() == pytest.approx(found.hessian_trace())
    assert found.hessian_trace() == pytest.approx([14.0] * 5)
    assert found.loss_rate() == pytest.approx([4.0] * 5)


@pytest.mark.parametrize(("sigma_eps", "images"), [(0.0, 10), (1.0, 0), (1.0, 42_001)])
def test_no_noise_and_more_images_than_there_are_are_refused_before_training(
    sigma_eps: float, images: int, tmp_path: Path
) -> None:
    shelf = Shelf(tmp_path / "none", "proposals")
    with pytest.raises(ValueError, match="sigma_eps > 0 and images 1 to 42000"):
        several([replace(TINY, sigma_eps=sigma_eps)], shelf, images)
    assert not shelf.folder.exists()
