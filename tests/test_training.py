"""The training loop against plain loops, and what no run may do to another."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nin.networks import mlp_stack
from nin.networks.attachment import attach, find_node
from nin.networks.data import Dataset
from nin.networks.losses import Loss
from nin.networks.models import ACTIVATIONS, MLP
from nin.networks.seeds import generator
from nin.networks.training import DENSE_STEPS, hide_bar, train
from nin.runs.history import CLEAN_QUANTITIES, History, log_spaced_steps

N, N_VAL, D_IN, D_OUT = 23, 11, 6, 3  # a batch of 8 leaves a last one of 7
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ce": F.cross_entropy,
    "mse": lambda z, y: F.mse_loss(z, F.one_hot(y, D_OUT).float()),
}


def synthetic(*shape: int, n: int = N) -> Dataset:
    """Random inputs of a shape with random labels."""
    g = generator(0, "data", shape)
    x = torch.randn(n + N_VAL, *shape, generator=g)
    y = torch.randint(D_OUT, (n + N_VAL,), generator=g)
    return Dataset(x[:n], y[:n], x[n:], y[n:])


DATA = synthetic(D_IN)


def mlp(sigma_eps: float | None = 0.7, seed: int = 0, **options: object) -> MLP:
    """A small network with a node, or without if the noise is None."""
    layer, node = options.pop("layer", 0), options.pop("node", {})
    model = MLP(D_IN, 5, d_out=D_OUT, seed=seed, **options)  # type: ignore[arg-type]
    if sigma_eps is not None:
        attach(model, f"layers.{layer}", sigma_eps, seed=seed, **node)  # type: ignore[arg-type]
    return model


def fit(models: Sequence[nn.Module], data: Dataset = DATA, **options: object) -> list[History]:
    given = {"eta": 0.1, "batch_size": 8, "epochs": 4, "progress": False} | options
    return train(models, data, **given)  # type: ignore[arg-type]


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in model.named_parameters()}


def same_bits(a: History, b: History) -> bool:
    pairs = [(vars(a)[k], vars(b)[k]) for k in vars(a) if isinstance(vars(a)[k], np.ndarray)]
    pairs += [(a.norms[k], b.norms[k]) for k in a.norms | b.norms]
    ends = [(h.diverged_step, h.last_finite_loss, h.steps_per_epoch) for h in (a, b)]
    return ends[0] == ends[1] and all(np.array_equal(x, y) for x, y in pairs)


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def batches(seed: int, epoch: int, batch_size: int, n: int = N) -> tuple[Tensor, ...]:
    return torch.randperm(n, generator=generator(seed, "batches", epoch)).split(batch_size)


def unit_noise(seed: int, epoch: int, n: int = N) -> Tensor:
    return torch.randn(n, generator=generator(seed, "eps", epoch))


# ---- the same training, written plainly


def plain_mlp(
    model: MLP, layer: int, sigma_eps: float, loss: str, eta: float, epochs: int, seed: int = 0
) -> tuple[list[float], list[float]]:
    """Train a network in place by autograd and `torch.optim`; return noisy losses and |w_ni|."""
    act = ACTIVATIONS[model.activation]
    _, node = find_node(model) or pytest.fail("no node")
    optimiser = torch.optim.SGD(model.parameters(), lr=eta)
    losses, norms = [], []
    for epoch in range(epochs):
        eps = sigma_eps * unit_noise(seed, epoch)
        for batch in batches(seed, epoch, 8):
            h = DATA.train_x[batch]
            for i, linear in enumerate(model.layers):
                z = F.linear(h, linear.weight, linear.bias)
                if i == layer:
                    z = z + eps[batch].outer(node.w_ni)
                h = act(z)
            value = LOSSES[loss](z, DATA.train_y[batch])
            losses.append(value.item())
            norms.append(node.w_ni.norm().item())
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
    return losses, norms


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_mlps_train_as_in_a_plain_loop(activation: str, depth: int, loss: str) -> None:
    tame = activation not in ("relu_squared", "square")  # those diverge at the numbers of the rest
    sigma_eps, eta = (0.7, 0.1) if tame else (0.1, 1e-4)
    for layer in (0, depth):
        for bias in (True, False):
            model = mlp(sigma_eps, depth=depth, activation=activation, bias=bias, layer=layer)
            peer = copy.deepcopy(model)
            [history] = fit([model], loss=loss, eta=eta)
            losses, norms = plain_mlp(peer, layer, sigma_eps, loss, eta, 4)
            # float32 rounding, 6e-8 a product, in numbers of order 1 over twelve steps
            np.testing.assert_allclose(history.loss, losses, rtol=2e-5, atol=2e-6)
            np.testing.assert_allclose(history.w_ni, norms, rtol=2e-5, atol=2e-6)
            for name, p in weights(peer).items():
                torch.testing.assert_close(weights(model)[name], p, rtol=2e-5, atol=5e-6)


def test_squared_error_trains_with_the_normalisation_asked() -> None:
    a, b = mlp(), mlp()
    fit([a], loss=Loss("mse", "sum"), eta=0.1)
    fit([b], loss=Loss("mse", "mean"), eta=0.1 * D_OUT)
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=2e-5, atol=5e-6)  # float32 rounding over twelve steps


class OtherMLP(MLP):
    """The same network, but not one that the loop knows by its type."""


@pytest.mark.parametrize("loss", LOSSES)
def test_the_fast_path_and_the_general_one_agree(loss: str) -> None:
    fast, general = mlp(depth=2, layer=1), mlp(depth=2, layer=1)
    general.__class__ = OtherMLP
    [a], [b] = fit([fast], loss=loss), fit([general], loss=loss)
    for name in ("loss", *CLEAN_QUANTITIES):  # float32 rounding over twelve steps
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=2e-5, atol=2e-6)
    assert set(a.norms) == set(b.norms)
    for name in a.norms:
        np.testing.assert_allclose(a.norms[name], b.norms[name], rtol=2e-5)
    for name, p in weights(general).items():
        torch.testing.assert_close(weights(fast)[name], p, rtol=2e-5, atol=5e-6)


class Tagger(nn.Module):
    """A transformer block that reads a short sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
        self.out = nn.Linear(4, D_OUT)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.block(x).mean(1))


def convolutional() -> nn.Module:
    head = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    return nn.Sequential(head, nn.Flatten(), nn.Linear(4 * 9, D_OUT))


OTHERS: dict[str, tuple[Callable[[], nn.Module], str, tuple[int, ...]]] = {
    "convolution": (convolutional, "0.0", (2, 5, 5)),
    "batch norm": (convolutional, "0.1", (2, 5, 5)),
    "after a convolution": (convolutional, "2", (2, 5, 5)),
    "attention": (Tagger, "block.linear1", (5, 4)),
    "tokens": (Tagger, "block.linear2", (5, 4)),
}


def other(kind: str, seed: int = 0, sigma_eps: float = 0.7) -> nn.Module:
    make, layer, _ = OTHERS[kind]
    torch.manual_seed(seed)
    model = make()
    attach(model, layer, sigma_eps, seed=seed)
    return model


@pytest.mark.parametrize("kind", OTHERS)
def test_other_networks_train_as_in_a_plain_loop(kind: str) -> None:
    data = synthetic(*OTHERS[kind][2])
    model, peer = other(kind), other(kind)
    [history] = fit([model], data)
    _, node = find_node(peer) or pytest.fail("no node")
    optimiser, losses = torch.optim.SGD(peer.parameters(), lr=0.1), []
    for epoch in range(4):
        eps = 0.7 * unit_noise(0, epoch)
        for batch in batches(0, epoch, 8):
            node.eps = eps[batch]
            value = F.cross_entropy(peer(data.train_x[batch]), data.train_y[batch])
            losses.append(value.item())
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
    # float32 rounding through some normalised layers, which divide by small numbers, over 12 steps
    np.testing.assert_allclose(history.loss, losses, rtol=1e-4)
    for name, p in weights(peer).items():
        torch.testing.assert_close(weights(model)[name], p, rtol=1e-4, atol=2e-5)
    for name, buffer in peer.named_buffers():
        if not name.endswith("eps"):  # running means of batch norm
            torch.testing.assert_close(model.get_buffer(name), buffer, rtol=1e-4, atol=2e-5)
    with torch.no_grad():
        clean = F.cross_entropy(peer.eval()(data.val_x), data.val_y).item()
    assert history.val_loss[-1] == pytest.approx(clean, rel=1e-4)


# ---- runs side by side


CREW: list[dict[str, object]] = [
    {"sigma_eps": 0.7, "seed": 0},
    {"sigma_eps": 2.0, "seed": 0, "node": {"noise": "rademacher"}},
    {"sigma_eps": 0.0, "seed": 1},
    {"sigma_eps": 1.0, "seed": 2, "node": {"fixed": True, "noise": "uniform"}},
]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("order", [[0, 1], [3, 0, 2], [2, 1, 3, 0], [1, 0, 0, 3]])
def test_a_run_in_lock_step_is_bit_identical_to_the_run_alone(
    order: list[int], precision: str
) -> None:
    models = [mlp(**CREW[i]) for i in order]
    seeds = [int(str(CREW[i]["seed"])) for i in order]
    together = fit(models, seeds=seeds, precision=precision)
    for i, model, history, seed in zip(order, models, together, seeds, strict=True):
        alone = mlp(**CREW[i])
        [expected] = fit([alone], seeds=[seed], precision=precision)
        assert same_bits(history, expected)
        assert same_weights(model, alone)


def test_other_networks_in_lock_step_agree_with_the_run_alone_to_rounding() -> None:
    data = synthetic(2, 5, 5)
    models = [other("convolution", seed) for seed in (0, 1, 2)]
    together = fit(models, data, seeds=[0, 1, 2])
    for seed, model in enumerate(models):
        alone = other("convolution", seed)
        [expected] = fit([alone], data, seeds=[seed])
        np.testing.assert_allclose(together[seed].loss, expected.loss, rtol=1e-4)  # as above
        for name, p in weights(alone).items():
            torch.testing.assert_close(weights(model)[name], p, rtol=1e-4, atol=2e-5)


def test_same_seed_gives_the_same_bits_and_another_seed_does_not() -> None:
    histories = [fit([mlp()], seeds=[seed])[0] for seed in (5, 5, 6)]
    assert same_bits(histories[0], histories[1])
    assert not np.array_equal(histories[0].loss, histories[2].loss)


def test_a_numpy_seed_means_the_same_run() -> None:
    [a], [b] = fit([mlp()], seeds=[3]), fit([mlp()], seeds=np.array([3]))
    assert same_bits(a, b)


def test_seeds_count_from_zero_by_default() -> None:
    a, b = fit([mlp(), mlp()]), fit([mlp(), mlp()], seeds=[0, 1])
    assert all(same_bits(x, y) for x, y in zip(a, b, strict=True))


def test_all_strengths_of_a_seed_share_weights_batches_and_unit_noise() -> None:
    strengths = (0.0, 1.0, 3.0)
    models = [mlp(s, seed=4, node={"init_std": 0.0}) for s in strengths]
    assert same_weights(models[0], models[1]) and same_weights(models[0], models[2])
    # From w_ni = 0 the first step is -eta mean(eps dL/dz): the same batch gives the same dL/dz,
    # and unit noise shows as a step in proportion to sigma_eps.
    histories = fit(models, seeds=[4] * 3, batch_size=N, epochs=1)
    assert histories[0].loss[0] == histories[1].loss[0] == histories[2].loss[0]
    steps = [find_node(m)[1].w_ni for m in models]  # type: ignore[index]
    assert torch.equal(steps[0], torch.zeros(5)) and steps[1].norm() > 1e-3
    torch.testing.assert_close(steps[2], 3 * steps[1], rtol=1e-5, atol=0)  # float32 rounding


def test_zero_noise_leaves_training_unchanged_bit_for_bit() -> None:
    for make, data in ((mlp, DATA), (lambda s: deaf("convolution", s), synthetic(2, 5, 5))):
        plain, silent = make(None), make(0.0)
        [a], [b] = fit([plain], data), fit([silent], data)
        assert np.array_equal(a.loss, b.loss) and np.array_equal(a.val_loss, b.val_loss)
        ours = weights(silent)
        assert all(torch.equal(p, ours[name]) for name, p in weights(plain).items())
        assert "w_ni" not in a.norms and np.ptp(b.w_ni) == 0


def deaf(kind: str, sigma_eps: float | None) -> nn.Module:
    """One of the other networks, without a node if the noise is None."""
    make, layer, _ = OTHERS[kind]
    torch.manual_seed(0)
    model = make()
    if sigma_eps is not None:
        attach(model, layer, sigma_eps)
    return model


# ---- noise through the epochs


def losses_at_standstill(**node: object) -> np.ndarray:
    """The noisy full-batch losses of six epochs, at a learning rate that moves nothing."""
    return fit([mlp(5.0, node=node)], eta=1e-12, batch_size=N, epochs=6)[0].loss


def test_fixed_noise_stays_with_its_sample_while_the_order_changes() -> None:
    losses = losses_at_standstill(fixed=True)
    np.testing.assert_allclose(losses, losses[0], rtol=1e-6)  # float32 sums in another order


def test_noise_is_drawn_anew_every_epoch_by_default() -> None:
    assert np.ptp(losses_at_standstill()) > 0.01
    assert len(set(losses_at_standstill().tolist())) == 6


def test_noise_within_an_epoch_is_one_draw_per_sample() -> None:
    whole = fit([mlp(5.0)], eta=1e-12, batch_size=N, epochs=1)[0].loss
    parts = fit([mlp(5.0)], eta=1e-12, batch_size=8, epochs=1)[0].loss
    assert np.average(parts, weights=[8, 8, 7]) == pytest.approx(whole[0], rel=1e-6)  # rounding


@pytest.mark.parametrize("kind", ["mlp", "convolution"])
def test_noise_is_off_in_evaluation(kind: str) -> None:
    data = DATA if kind == "mlp" else synthetic(2, 5, 5)
    make = mlp if kind == "mlp" else (lambda s: other(kind, sigma_eps=s))
    quiet, loud = (fit([make(s)], data, eta=1e-12)[0] for s in (0.0, 1000.0))
    assert abs(loud.loss[0] - quiet.loss[0]) > 0.05
    for name in CLEAN_QUANTITIES:
        assert getattr(loud, name)[0] == getattr(quiet, name)[0]


# ---- what is recorded


def test_clean_quantities_are_those_of_the_networks_in_evaluation() -> None:
    model = mlp()
    start = copy.deepcopy(model)
    [history] = fit([model])
    for network, i in ((start, 0), (model, -1)):
        for part in ("train", "val"):
            x, y = getattr(DATA, f"{part}_x"), getattr(DATA, f"{part}_y")
            z = network.eval()(x)
            # float32 rounding of a mean; accuracy is a count
            assert getattr(history, f"{part}_loss")[i] == pytest.approx(
                F.cross_entropy(z, y).item(), rel=1e-5
            )
            share = (z.argmax(-1) == y).float().mean().item()
            assert getattr(history, f"{part}_accuracy")[i] == pytest.approx(share, rel=1e-6)


def test_evaluation_in_chunks_is_that_of_the_whole() -> None:
    big = synthetic(D_IN, n=4500)
    for network in (mlp(), OtherMLP(D_IN, 5, d_out=D_OUT)):
        z = network.eval()(big.train_x)
        [history] = fit([network], big, batch_size=4500, epochs=1)
        expected = F.cross_entropy(z, big.train_y).item()
        assert history.train_loss[0] == pytest.approx(expected, rel=1e-5)  # rounding of a mean


def test_norms_are_those_before_the_step_and_of_every_matrix() -> None:
    model = mlp(depth=2)
    before = {n: p.norm().item() for n, p in model.named_parameters() if p.ndim > 1}
    [history] = fit([model])
    assert set(history.norms) == {"w_ni", "layers.0.weight", "layers.1.weight", "layers.2.weight"}
    for name, norm in before.items():
        assert history.norms[name][0] == pytest.approx(norm, rel=1e-6)  # float32 sum of squares
        assert len(history.norms[name]) == len(history.step)


def test_noisy_quantities_are_those_of_the_batch_before_its_step() -> None:
    model = mlp(0.0)
    first = batches(0, 0, 8)[0]
    z = copy.deepcopy(model)(DATA.train_x[first])
    [history] = fit([model])
    labels = DATA.train_y[first]
    assert history.loss[0] == pytest.approx(F.cross_entropy(z, labels).item(), rel=1e-6)
    assert history.accuracy[0] == (z.argmax(-1) == labels).float().mean().item()


def test_the_last_smaller_batch_is_a_step() -> None:
    [history] = fit([mlp()], epochs=2)
    assert history.steps_per_epoch == 3
    assert history.step.tolist() == [0, 1, 2, 3, 4, 5]
    assert history.epoch[3] == 1 and history.eval_epoch[-1] == 2


def test_every_early_step_is_recorded_and_later_ones_log_spaced() -> None:
    [history] = fit([mlp()], epochs=300, evaluations=10)  # 900 steps
    assert history.step[: DENSE_STEPS + 1].tolist() == list(range(DENSE_STEPS + 1))
    late = history.step[DENSE_STEPS:]
    assert late[-1] == 899 and len(history.loss) == len(history.step) == len(history.w_ni)
    assert np.all(np.abs(late[1:-1] / late[:-2] - 10 ** (1 / 60)) < 0.005)  # whole steps: 1 in 200
    assert history.eval_step[:2].tolist() == [0, 1] and history.eval_step[-1] == 900
    assert len(history.eval_step) == len(history.val_loss)
    assert np.sum((history.eval_step > 10) & (history.eval_step <= 100)) == 10


@pytest.mark.parametrize("total", [0, 1, 2, 3, 7, 41, 999, 1000, 6300])
@pytest.mark.parametrize(("dense", "per_decade"), [(1, 1), (1, 10), (200, 60), (4, 3)])
def test_recorded_steps_grow_from_zero_to_the_last(total: int, dense: int, per_decade: int) -> None:
    steps = log_spaced_steps(total, dense, per_decade)
    assert steps[0] == 0 and steps[-1] == total
    assert np.all(np.diff(steps) > 0)


@pytest.mark.parametrize("kind", ["mlp", "batch norm"])
def test_measuring_never_changes_the_run(kind: str) -> None:
    data = DATA if kind == "mlp" else synthetic(2, 5, 5)
    runs = []
    for evaluations in (0, 3, 50):
        model = mlp() if kind == "mlp" else other(kind)
        [history] = fit([model], data, evaluations=evaluations, epochs=10)
        runs.append((model, history))
    assert len({len(h.eval_step) for _, h in runs}) == 3
    for model, history in runs[1:]:
        assert np.array_equal(history.loss, runs[0][1].loss)
        assert np.array_equal(history.w_ni, runs[0][1].w_ni)
        assert same_weights(model, runs[0][0])


def test_training_leaves_the_data_and_the_global_generator_alone() -> None:
    before = [t.clone() for t in vars(DATA).values()]
    state = torch.get_rng_state()
    fit([mlp(), mlp()])
    assert all(torch.equal(a, b) for a, b in zip(before, vars(DATA).values(), strict=True))
    assert torch.equal(torch.get_rng_state(), state)


# ---- divergence


LOUD = 1e6  # noise that no learning rate of these tests survives


def test_a_diverged_run_is_frozen_and_says_when() -> None:
    [history] = fit([mlp(LOUD)], loss="mse", epochs=20)
    assert history.diverged_step is not None and 0 < history.diverged_step < 60
    assert history.step.tolist() == list(range(history.diverged_step))
    assert np.isfinite(history.loss).all() and np.isfinite(history.w_ni).all()
    assert history.last_finite_loss == pytest.approx(history.loss[-1], rel=1e-6)  # float32
    assert history.eval_step[-1] <= history.diverged_step


def test_the_beginning_of_a_run_is_the_run_that_ends_there() -> None:
    [whole], [short] = (fit([mlp()], epochs=epochs) for epochs in (7, 4))
    part, end = whole.until(4), 4 * whole.steps_per_epoch
    assert short.eval_step[-1] == end and short.step[-1] == end - 1 == part.step[-1]
    for name in ("step", "loss", "accuracy"):  # so few that each is on record
        assert np.array_equal(getattr(part, name), getattr(short, name))
    for name, norm in part.norms.items():
        assert np.array_equal(norm, short.norms[name])
    both = np.isin(short.eval_step, part.eval_step)
    assert part.eval_step[-1] <= end and both.sum() == len(part.eval_step) > 3
    for name in CLEAN_QUANTITIES:
        assert np.array_equal(getattr(part, name), getattr(short, name)[both])
    assert part.last_finite_loss == pytest.approx(short.last_finite_loss, rel=1e-6)  # float32
    assert whole.until(7) is whole is whole.until(8)
    with pytest.raises(ValueError, match="epochs must be > 0, not 0"):
        whole.until(0)


def test_the_beginning_of_a_run_is_lost_if_it_is_lost_there() -> None:
    [history] = fit([mlp(1e2)], loss="mse", eta=1.0, epochs=20)
    assert history.diverged_step is not None and len(history.step) > 1
    assert history.until(20) is history
    part = history.until(history.step[-1] / history.steps_per_epoch)
    assert part.diverged_step is None and part.step[-1] == history.step[-2]


def test_a_run_that_ends_well_has_its_last_loss() -> None:
    [history] = fit([mlp()])
    assert history.diverged_step is None
    assert history.last_finite_loss == pytest.approx(history.loss[-1], rel=1e-6)  # float32


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_diverged_run_leaves_its_neighbours_bit_identical(place: int) -> None:
    sigmas, seeds = [0.7, 1.5], [0, 1]
    models = [mlp(s, seed=r) for s, r in zip(sigmas, seeds, strict=True)]
    neighbours = list(models)
    neighbours.insert(place, mlp(LOUD, seed=2))
    together = fit(neighbours, loss="mse", seeds=[*seeds[:place], 2, *seeds[place:]], epochs=20)
    assert together[place].diverged_step is not None
    calm = [h for i, h in enumerate(together) if i != place]
    for history, model, sigma, seed in zip(calm, models, sigmas, seeds, strict=True):
        alone = mlp(sigma, seed=seed)
        [expected] = fit([alone], loss="mse", seeds=[seed], epochs=20)
        assert same_bits(history, expected) and same_weights(model, alone)


def test_other_networks_survive_a_diverged_neighbour() -> None:
    data = synthetic(2, 5, 5)
    kind = "after a convolution"  # where no batch norm tames the noise
    models = [other(kind, 1, LOUD), other(kind, 0)]
    loud, calm = fit(models, data, loss="mse", epochs=20, seeds=[1, 0])
    assert loud.diverged_step is not None and calm.diverged_step is None
    [expected] = fit([other(kind, 0)], data, loss="mse", epochs=20)
    # float32 rounding, as above, grown over sixty steps
    np.testing.assert_allclose(calm.loss, expected.loss, rtol=1e-3)


def test_runs_may_diverge_one_after_another_until_none_is_left() -> None:
    histories = fit([mlp(1e3), mlp(LOUD**3), mlp(1e2)], loss="mse", eta=1.0, epochs=20)
    ends = [h.diverged_step for h in histories]
    assert None not in ends and len(set(ends)) > 1
    assert all(len(h.step) == h.diverged_step for h in histories)


def test_a_run_that_never_had_a_finite_loss_has_an_empty_record() -> None:
    model = mlp()
    with torch.no_grad():
        model.linear(0).weight.fill_(math.nan)
    [history] = fit([model])
    assert history.diverged_step == 0 and len(history.step) == 0
    assert math.isnan(history.last_finite_loss)


# ---- precision, modes, frozen parameters


def test_bf16_follows_float32_to_its_own_rounding() -> None:
    a, b = mlp(depth=2), mlp(depth=2)
    [exact], [rough] = fit([a]), fit([b], precision="bf16")
    # bfloat16 keeps 8 bits, so 0.4 % a product; after three layers and twelve steps a few percent
    np.testing.assert_allclose(rough.loss, exact.loss, rtol=0.03)
    for name, p in weights(a).items():
        torch.testing.assert_close(weights(b)[name], p, rtol=0.03, atol=0.02)
    assert not np.array_equal(rough.loss, exact.loss)
    assert all(p.dtype == torch.float32 for p in b.parameters())


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_bfloat16_is_rounded_alike_where_it_cannot_be_multiplied(
    activation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def course(precision: str, can_multiply: bool = True) -> tuple[History, nn.Module]:
        monkeypatch.setattr(mlp_stack, "multiplies_bfloat16", lambda device: can_multiply)
        model = mlp(depth=2, activation=activation)
        [history] = fit([model], precision=precision)
        return history, model

    (ours, one), (theirs, two) = course("bf16", False), course("bf16")
    exact, _ = course("float32")
    # Sums in another order: here and there a number is rounded to its other neighbour.
    far, near = (abs(h.loss - theirs.loss).mean() for h in (exact, ours))
    assert near < far / 4
    assert all(p.dtype == torch.float32 for p in one.parameters())
    for name, p in weights(two).items():
        torch.testing.assert_close(weights(one)[name], p, rtol=0.01, atol=0.005)


def test_a_network_in_evaluation_mode_trains_all_the_same() -> None:
    data = synthetic(2, 5, 5)
    [a], [b] = fit([other("batch norm")], data), fit([other("batch norm").eval()], data)
    assert same_bits(a, b)
    assert np.ptp(b.w_ni) > 0


def test_training_keeps_the_mode_of_the_network() -> None:
    for model, data in ((mlp(), DATA), (other("convolution"), synthetic(2, 5, 5))):
        fit([model.eval()], data)
        assert not any(m.training for m in model.modules())
        fit([model.train()], data)
        assert all(m.training for m in model.modules())


@pytest.mark.parametrize("frozen", ["layers.0.weight", "layers.0.nin.w_ni", "layers.1.bias"])
def test_parameters_that_need_no_gradient_stay_as_they_are(frozen: str) -> None:
    model = mlp()
    model.get_parameter(frozen).requires_grad_(False)
    before = {n: p.clone() for n, p in weights(model).items()}
    fit([model])
    moved = {n for n, p in weights(model).items() if not torch.equal(p, before[n])}
    assert moved == set(before) - {frozen}


def test_targets_may_be_numbers_rather_than_labels() -> None:
    y = torch.eye(D_OUT)
    data = dataclasses.replace(DATA, train_y=y[DATA.train_y], val_y=y[DATA.val_y])
    [labels], [numbers] = fit([mlp()], loss="mse"), fit([mlp()], data, loss="mse")
    assert same_bits(labels, numbers)


# ---- the bar and bad input


def test_the_bar_shows_when_asked_and_never_by_itself_in_ci(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CI", raising=False)
    assert hide_bar(None) is None  # tqdm's "where there is no terminal"
    monkeypatch.setenv("CI", "true")
    assert hide_bar(None) is True and hide_bar(True) is False
    fit([mlp()], progress=None)
    assert capsys.readouterr().err == ""
    fit([mlp()], progress=True)
    assert "step" in capsys.readouterr().err


BAD: list[tuple[dict[str, object], str]] = [
    ({"eta": 0.0}, "eta must be finite and > 0, not 0.0"),
    ({"eta": -1.0}, "eta must be finite and > 0, not -1.0"),
    ({"eta": math.nan}, "eta must be finite and > 0, not nan"),
    ({"eta": math.inf}, "eta must be finite and > 0, not inf"),
    ({"batch_size": 0}, "batch_size must be 1 to 23, the training set's size, not 0"),
    ({"batch_size": 24}, "batch_size must be 1 to 23, the training set's size, not 24"),
    ({"epochs": 0}, "epochs must be >= 1, not 0"),
    ({"loss": "nll"}, "loss must be 'ce' or 'mse', not 'nll'"),
    ({"precision": "float16"}, r"precision must be one of \('float32', 'bf16'\), not 'float16'"),
    ({"seeds": [0, 1]}, "one seed per network: 1 networks, 2 seeds"),
    ({"seeds": "7"}, r"seeds must be whole numbers, not \['7'\]"),
    ({"seeds": [0.5]}, r"seeds must be whole numbers, not \[0.5\]"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_bad_arguments_are_refused_before_anything_is_trained(
    options: dict[str, object], message: str
) -> None:
    model = mlp()
    with pytest.raises(ValueError, match=message):
        fit([model], **options)
    assert same_weights(model, mlp())


def test_networks_that_are_not_alike_are_refused() -> None:
    with pytest.raises(ValueError, match="no network to train"):
        fit([])
    with pytest.raises(ValueError, match="differ in their parameters: train them one by one"):
        fit([mlp(), mlp(layer=1)])
    with pytest.raises(ValueError, match="differ in their parameters: train them one by one"):
        fit([mlp(), mlp(None)])
    with pytest.raises(ValueError, match="differ in layers or activations: train them one by one"):
        fit([mlp(), mlp(activation="tanh")])


def test_bf16_is_refused_where_it_would_not_be_used() -> None:
    frozen = mlp()
    frozen.linear(0).weight.requires_grad_(False)
    for model in (OtherMLP(D_IN, 5, d_out=D_OUT), frozen):
        with pytest.raises(ValueError, match=r"precision='bf16' is for an MLP"):
            fit([model], precision="bf16")
