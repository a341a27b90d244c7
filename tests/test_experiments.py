"""The paper's experiments as data, and the random streams that every run draws from."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from nin.networks.attachment import find_node
from nin.networks.seeds import generator
from nin.studies.experiments import (
    EXPERIMENTS,
    FIG1,
    FIG2,
    FIG3,
    TABLE1,
    Experiment,
    check_type,
    experiment,
    strengths,
)
from nin.studies.study import images_of, train_runs

SMALL = dataclasses.replace(FIG3, width=20, sigma_eps=0.5)


# ---- App. B


def test_experiments_are_those_of_the_paper() -> None:
    said = ("depth", "width", "loss", "activation", "eta", "batch_size", "layer")
    found = {name: tuple(getattr(e, f) for f in said) for name, e in EXPERIMENTS.items()}
    assert found == {
        "fig1": (3, 1024, "ce", "relu", 0.05, 128, "layers.0"),
        "fig2": (1, 1024, "mse", "relu", 0.01, 1000, "layers.0"),
        "fig3": (1, 1024, "ce", "relu", 0.01, 1000, "layers.0"),
    }
    assert experiment("fig1") is FIG1


def test_table_1_is_in_its_own_units() -> None:
    assert list(TABLE1["fig2"].values()) == [1e-4, 30, 47, 50]
    assert list(TABLE1["fig3"].values()) == [1e-4, 0.1, 1, 1.8]
    # sigma_eps**2 = K d_in / eta, and for the squared error K d_in / (N_w eta); float64 rounding
    assert FIG3.at(1.8).sigma_eps ** 2 == pytest.approx(1.8 * 784 / 0.01, rel=1e-12)
    assert FIG2.at(30).sigma_eps ** 2 == pytest.approx(30 * 784 / (1024 * 0.01), rel=1e-12)


@pytest.mark.parametrize("base", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_k_and_sigma_eps_are_two_names_of_one_noise(base: Experiment) -> None:
    for k in (0.0, 1e-4, 1.8, 50.0):
        assert base.at(k).K == pytest.approx(k, rel=1e-12)  # float64 rounding
    assert base.at(2.0, eta=0.1, seed=3) == dataclasses.replace(base, eta=0.1, seed=3).at(2.0)


def test_strengths_come_as_k_or_as_sigma_eps() -> None:
    assert [e.sigma_eps for e in strengths(FIG3, [1.0], [20.0, 60.0])] == [20, 60]
    assert strengths(FIG3, [0.1, 1.8], []) == [FIG3.at(0.1), FIG3.at(1.8)]


# ---- the network that an experiment describes


def test_every_choice_reaches_the_network() -> None:
    e = dataclasses.replace(
        SMALL,
        depth=2,
        activation="tanh",
        bias=False,
        layer="layers.1",
        fixed=True,
        noise="rademacher",
    )
    model = e.network()
    name, node = find_node(model) or pytest.fail("no node")
    assert (name, node.noise, node.fixed, node.sigma_eps) == (
        "layers.1.nin",
        "rademacher",
        True,
        0.5,
    )
    assert model.activation == "tanh" and len(model.layers) == 3
    assert model.linear(0).bias is None
    cut = dataclasses.replace(SMALL, init="truncated").network().linear(0).weight
    assert cut.abs().max() < 2.3 / 28 < SMALL.network().linear(0).weight.abs().max()


def test_noise_weights_count_the_node_as_an_input_of_the_layer_or_as_its_own() -> None:
    layer, node = (
        find_node(dataclasses.replace(FIG3, niw_fan_in=f).network())[1].w_ni  # type: ignore[index]
        for f in ("layer", "node")
    )
    err = math.sqrt(2 / 1024)  # relative standard error of a variance over 1024 normal draws
    assert layer.var().item() * 784 == pytest.approx(1, abs=5 * err)
    assert node.var().item() == pytest.approx(1, abs=5 * err)


def test_all_strengths_and_laws_of_a_seed_start_from_the_same_weights() -> None:
    networks = [
        dataclasses.replace(SMALL, **change).network()  # type: ignore[arg-type]
        for change in ({}, {"sigma_eps": 9.0}, {"noise": "uniform"}, {"fixed": True}, {"seed": 1})
    ]
    first, *others, other_seed = ([*m.parameters()] for m in networks)
    for same in others:
        assert all(torch.equal(p, q) for p, q in zip(first, same, strict=True))
    assert not torch.equal(first[0], other_seed[0])


def test_fewer_inputs_and_classes_make_a_smaller_problem_and_change_no_other_key() -> None:
    e = dataclasses.replace(SMALL, d_in=49, d_out=2, batch_size=100)
    assert [tuple(p.shape) for p in e.network().parameters() if p.ndim == 2] == [
        (e.width, 49), (2, e.width),
    ]  # fmt: skip
    assert (e.n_train, e.steps_per_epoch) == (8400, 84)
    assert e.unit == 49 / e.eta
    data = images_of(e)
    assert data.train_x.shape == (e.n_train, 49) and set(data.train_y.tolist()) == {0, 1}
    _, [history] = train_runs([e], epochs=1, progress=False)
    assert len(history.step) > 0 and np.isfinite(history.loss[0])
    assert dataclasses.replace(SMALL, d_in=784, d_out=10).key == SMALL.key != e.key


# ---- fields of the wrong kind


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("seed", "0", "seed must be of type int, not '0', a str"),
        ("seed", 0.0, "seed must be of type int, not 0.0, a float"),
        ("epochs", True, "epochs must be of type int, not True, a bool"),
        ("bias", 1, "bias must be of type bool, not 1, a int"),
        ("sigma_eps", "60", "sigma_eps must be of type float, not '60', a str"),
        ("sigma_eps", math.nan, "sigma_eps must be finite and >= 0, not nan"),
        ("eta", -0.1, "eta must be finite and > 0, not -0.1"),
        (
            "niw_fan_in",
            "input",
            r"niw_fan_in must be one of \['layer', 'node', 'width'\], not 'input'",
        ),
        ("scaling", "max", r"scaling must be one of \['std', .*\], not 'max'"),
        ("depth", -1, "depth must be >= 1, not -1"),
        ("d_in", 783, r"d_in must be one of \[784, 196, 49\], not 783"),
        ("d_out", 11, "d_out must be 2 to 10, not 11"),
        ("evaluations", 0, "evaluations must be >= 1, not 0"),
    ],
)
def test_fields_are_checked_by_type_range_and_name(field: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(FIG3, **{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("k", [-1.0, math.nan, math.inf, "1"])
def test_an_impossible_k_is_refused(k: object) -> None:
    with pytest.raises(ValueError, match=r"K, a noise variance .* must be a finite number >= 0"):
        FIG3.at(k)  # type: ignore[arg-type]


def test_whole_numbers_become_floats_and_nothing_else_changes_type() -> None:
    assert repr(check_type("eta", 1, "float")) == "1.0"
    assert repr(check_type("K", (1, 2.5), "list[float]")) == "[1.0, 2.5]"
    for value, kind in ((True, "float"), (1.0, "int"), ("a", "list[str]"), (1, "str")):
        with pytest.raises(ValueError, match=f"x must be of type {kind.replace('[', '.')[:4]}"):
            check_type("x", value, kind)


# ---- random streams


def test_streams_are_the_ones_that_records_were_made_with() -> None:
    draws = [generator(0, *s).initial_seed() for s in (("weights",), ("w_ni",), ("eps", 1))]
    # another number here means that no record can be made again
    assert draws == [5147875554478041081, 8785426847442653841, 637156640079466892]


def test_streams_do_not_depend_on_each_other() -> None:
    streams = [("batches", 0), ("batches", 1), ("eps", 0), ("eps", 1), ("weights",), ("w_ni",)]
    n = 10_000
    draws = [torch.randn(n, generator=generator(s, *k)).numpy() for s in (0, 1) for k in streams]
    correlations = np.corrcoef(draws)[np.triu_indices(len(draws), 1)]
    assert np.abs(correlations).max() < 5 / math.sqrt(n)  # 66 pairs: one false alarm in 26,000


@pytest.mark.parametrize(
    ("fan_in", "variance"), [("layer", 1 / 784), ("node", 1.0), ("width", 1 / 3000)]
)
def test_the_niws_start_with_a_variance_of_one_over_their_fan_in(
    fan_in: str, variance: float
) -> None:
    found = find_node(Experiment(width=3000, niw_fan_in=fan_in).network())
    assert found is not None
    # five standard errors of a variance over 3000 normal values
    assert float(found[1].w_ni.detach().var()) == pytest.approx(variance, rel=5 * (2 / 3000) ** 0.5)
