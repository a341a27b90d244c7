"""The simulator of the linear model against SGD written out, its own modes, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nin.linear import batch_draws as moments
from nin.linear.model import NOISE_MODES, clean_loss, mean_loss, simulate, step
from nin.runs.phases import Phase, classify_phase
from nin.theory import symbols as s
from nin.theory import two_layer as theory

START = {"w1": 0.8, "u": -0.4, "w0": 0.3}
SETTING = {"sigma_eps": 1.7, "eta": 0.06, "M": -0.7, "sigma_x": 1.3}
P_MIN = 1e-6
"""Of a Kolmogorov-Smirnov test. There are 46 of them here: a false alarm once in 2e4 versions."""


def brute_force(
    w1: np.ndarray,
    u: np.ndarray,
    w0: np.ndarray,
    x: np.ndarray,
    eps: np.ndarray,
    eta: float,
    M: float,
) -> tuple[np.ndarray, ...]:
    """One step of SGD from the gradients of each sample; x and eps are (runs, batch)."""
    w1, u, w0 = (np.asarray(w)[..., None] for w in (w1, u, w0))
    hidden = w0 * x + u * eps
    residual = w1 * hidden - M * x
    gradients = (residual * hidden, residual * w1 * eps, residual * w1 * x)
    return tuple(w[..., 0] - eta * g.mean(-1) for w, g in zip((w1, u, w0), gradients, strict=True))


def run(noise: str, batch_size: int, n: int, steps: int, seed: int = 0) -> np.ndarray:
    """Final weights, (3, n)."""
    weights = {name: np.full(n, w) for name, w in START.items()}
    runs = simulate(
        **weights, **SETTING, batch_size=batch_size, steps=steps, noise=noise, seed=seed
    )
    return np.stack([runs.w1[-1], runs.u[-1], runs.w0[-1]])


def test_step_is_sgd_on_the_same_batch() -> None:
    g = np.random.default_rng(0)
    w1, u, w0, M, eta = g.normal(size=(5, 200))
    x, eps = g.normal(size=(2, 200, 7))
    batch = ((x * x).mean(-1), (x * eps).mean(-1), (eps * eps).mean(-1))
    ours = step(w1, u, w0, M, eta, *batch)
    theirs = brute_force(w1, u, w0, x, eps, eta, M[:, None])
    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)  # sums in another order


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8, 50])
def test_modes_and_brute_force_agree_in_distribution(batch_size: int) -> None:
    n, steps = 20_000, 4
    g = np.random.default_rng(batch_size)
    by_hand = tuple(np.full(n, START[name]) for name in ("w1", "u", "w0"))
    for _ in range(steps):
        x = g.normal(scale=SETTING["sigma_x"], size=(n, batch_size))
        eps = g.normal(scale=SETTING["sigma_eps"], size=(n, batch_size))
        by_hand = brute_force(*by_hand, x, eps, SETTING["eta"], SETTING["M"])
    wishart = run("wishart", batch_size, n, steps, seed=1)
    explicit = run("explicit", batch_size, n, steps, seed=2)
    for ours, samples, theirs in zip(wishart, explicit, by_hand, strict=True):
        assert stats.ks_2samp(ours, samples).pvalue > P_MIN
        assert stats.ks_2samp(ours, theirs).pvalue > P_MIN
        assert stats.ks_2samp(samples, theirs).pvalue > P_MIN


def test_a_wrong_law_would_be_noticed() -> None:
    wishart, eq3 = (run(noise, 2, 20_000, 4) for noise in ("wishart", "eq3"))
    assert max(stats.ks_2samp(a, b).pvalue for a, b in zip(wishart, eq3, strict=True)) < P_MIN


def test_random_numbers_have_their_laws() -> None:
    def draw(f: object, *arguments: int) -> np.ndarray:
        states = moments.streams(3, 50_000)
        return np.array([f(state, *arguments)[1] for state in states])  # type: ignore[operator]

    assert stats.kstest(draw(moments.normal), "norm").pvalue > P_MIN
    for degrees in (1, 2, 3, 20):
        numbers = draw(moments.chi_squared, degrees)
        assert stats.kstest(numbers, stats.chi2(degrees).cdf).pvalue > P_MIN
    assert not draw(moments.chi_squared, 0).any()


def test_eq_3_is_the_step_at_mean_second_moments() -> None:
    kick = s.phi * s.sigma_x * s.sigma_eps / s.batch_size**0.5
    at = {theory.mean_xx: s.sigma_x**2, theory.mean_ee: s.sigma_eps**2}
    ours = theory.batch_step().subs({**at, theory.mean_xe: kick.subs(s.batch_size, 9)})
    expected = theory.EQ3.corrected.rhs.subs(s.batch_size, 9)
    assert (ours - expected).expand().applyfunc(lambda e: e.evalf(chop=True)).is_zero_matrix


def test_eq_3_mode_moves_the_weights_along_one_line() -> None:
    """All three kicks share one random number, and the mean step is that of SGD."""
    n = 40_000
    steps = run("eq3", 5, n, 1) - run("none", 5, n, 1)
    assert np.linalg.matrix_rank(np.cov(steps), tol=1e-9) == 1  # relative rounding is 1e-16
    error = steps.std(1) / np.sqrt(n)
    assert (abs(steps.mean(1)) < 5 * error).all()  # 5 standard errors: false alarm 2e-6


@pytest.mark.parametrize("noise", NOISE_MODES)
def test_two_legs_are_one_leg(noise: str) -> None:
    setting = {**START, **SETTING, "batch_size": [1, 4, 30], "noise": noise}
    whole = simulate(**setting, steps=50, record=[20])
    legs = simulate(**setting, steps=20).resume(30)
    for name in ("w1", "u", "w0"):
        np.testing.assert_array_equal(getattr(whole, name)[-1], getattr(legs, name)[-1])
    np.testing.assert_array_equal(whole.peaks, legs.peaks)
    assert legs.step.tolist() == [20, 50]


def test_no_steps_leave_the_start() -> None:
    run = simulate(**START, **SETTING, batch_size=3, steps=0)
    assert (run.w1, run.u, run.w0) == tuple(START.values())
    assert not run.diverged


def test_in_the_end_the_slope_is_learnt_and_the_noise_shut_out() -> None:
    g = np.random.default_rng(1)
    w1, u, w0 = g.normal(size=(3, 100))
    run = simulate(w1=w1, u=0.3 * u, w0=w0, sigma_eps=1, eta=0.02, batch_size=20, M=2, steps=20_000)
    np.testing.assert_allclose(run.w1[-1] * run.w0[-1], 2, atol=1e-9)  # rates > 0.02 a step
    assert abs(run.u[-1]).max() < 1e-9
    assert run.loss[-1].max() < 1e-18


def test_losses_are_averages_over_samples() -> None:
    g = np.random.default_rng(5)
    x, eps = g.normal(size=(2, 1_000_000)) * [[1.3], [1.7]]
    w1, u, w0, M = 0.8, -0.4, 0.3, -0.7
    samples = (w1 * (w0 * x + u * eps) - M * x) ** 2 / 2
    error = samples.std() / 1e3
    assert abs(samples.mean() - mean_loss(w1, u, w0, 1.7, M, 1.3)) < 5 * error
    assert clean_loss(w1, u, w0, 1.7, M, 1.3) == pytest.approx(mean_loss(w1, 0, w0, 1.7, M, 1.3))


def test_a_run_does_not_depend_on_its_neighbours() -> None:
    setting = {"u": 0.1, "w0": 0.1, "eta": 0.01, "batch_size": 10, "steps": 300}
    alone = simulate(w1=[1.0], sigma_eps=[5.0], **setting)
    beside = simulate(w1=[1.0, 1.0], sigma_eps=[5.0, 40.0], **setting)
    assert beside.diverged.tolist() == [False, True]
    assert beside.w1[-1, 0] == alone.w1[-1, 0]


def test_a_diverged_run_stays_at_its_last_finite_weights() -> None:
    setting = {"w1": 1.0, "u": 0.1, "w0": 0.1, "sigma_eps": 40.0, "eta": 0.01, "batch_size": 10}
    run = simulate(**setting, steps=100, record=range(100))
    at = int(run.diverged_step)
    assert 1 < at < 100
    assert np.isfinite(run.loss).all()
    assert (run.u[at:] == run.u[at - 1]).all() and run.u[at - 1] != run.u[at - 2]
    shorter = simulate(**setting, steps=at - 1)
    assert not shorter.diverged
    assert shorter.u[-1] == run.u[-1]
    assert run.history().diverged_step == at and run.history().step[-1] == at - 1


def test_any_shapes_broadcast() -> None:
    w1, u, sigma = np.ones((4, 1, 1)), np.full((3, 1), 0.1), np.array([0.5, 8.0])
    together = simulate(
        w1=w1, u=u, w0=0.2, sigma_eps=sigma, eta=0.02, batch_size=7, steps=40, noise="none"
    )
    assert together.w1.shape == (2, 4, 3, 2)
    alone = simulate(
        w1=1, u=0.1, w0=0.2, sigma_eps=8.0, eta=0.02, batch_size=7, steps=40, noise="none"
    )
    assert (together.u[-1, ..., 1] == alone.u[-1]).all()


def test_phases_of_many_are_those_of_each() -> None:
    g = np.random.default_rng(2)
    w1, u, w0 = g.normal(size=(3, 400)) * [[1], [0.1], [0.1]]
    sigma = 10 ** g.uniform(-2, 2, 400)
    runs = simulate(
        w1=w1, u=u, w0=w0, sigma_eps=sigma, eta=0.01, batch_size=20, steps=600, record=range(600)
    )
    many = [list(Phase)[k] for k in runs.phases()]
    each = [classify_phase(runs.history(i)).phase for i in range(400)]
    assert set(many) == set(Phase)
    # One run by one: the loss at the end is a median of ten records there, the last one here.
    assert np.mean([a == b for a, b in zip(many, each, strict=True)]) > 0.99
    assert sum(runs.counts().values()) == 400


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"M": 0}, "M must be other than 0"),
        ({"batch_size": 0}, "batch_size must be a whole number >= 1"),
        ({"batch_size": -3}, "batch_size"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"eta": 0}, "eta must be > 0"),
        ({"eta": -0.1}, "eta"),
        ({"sigma_eps": -1}, "sigma_eps must be >= 0"),
        ({"sigma_x": -1}, "sigma_x"),
        ({"w1": np.nan}, "w1 must be finite"),
        ({"u": [0.1, np.inf]}, "u must be finite"),
        ({"w1": np.ones(3), "sigma_eps": np.ones(2)}, r"w1 \(3,\), sigma_eps \(2,\)"),
        ({"steps": -1}, "steps must be >= 0"),
        ({"record": [11]}, "record must name steps from 0 to 10"),
        ({"noise": "cauchy"}, "noise must be one of explicit, wishart, eq3, none"),
    ],
)
def test_bad_input_is_named(change: dict[str, object], message: str) -> None:
    good = {**START, **SETTING, "batch_size": 4, "steps": 10}
    with pytest.raises(ValueError, match=message):
        simulate(**{**good, **change})  # type: ignore[arg-type]
