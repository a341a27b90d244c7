"""The claims of Sec. 2 and App. C: Eq. (2), footnotes 1 and 2, and Theorem 1."""

from __future__ import annotations

import itertools

import numpy as np
import torch

from nin import curvature
from nin.companion.claims.finding import Finding, Verdict
from nin.companion.claims.ledger import SIGMAS, claim
from nin.curvature.local import LocalLoss
from nin.linear import batch_means as mc
from nin.networks.losses import Loss
from nin.networks.models import MLP
from nin.networks.seeds import generator
from nin.studies.study import images
from nin.theory import brackets as averages
from nin.theory import mean_step, theorem
from nin.theory import symbols as s
from nin.theory import two_layer as linear
from nin.theory.expansion import EQ2


def _local(
    activation: str, width: int, loss: str, seed: int, samples: int
) -> tuple[LocalLoss, torch.Tensor]:
    """Return the local loss of a network on Fashion-MNIST and its noise weights."""
    data = images()
    model = MLP(width=width, activation=activation, seed=seed)
    x, y = data.train_x[:samples], data.train_y[:samples]
    w = torch.randn(width, generator=generator(seed, "w_ni")) / data.train_x.shape[1] ** 0.5
    return LocalLoss(model, "layers.0", x, y, Loss(loss).values), w


@claim(
    "EQ2",
    "The noise weights are pulled to zero at the rate of half the learning rate times the noise "
    "variance times the local Hessian.",
    "Eqs. (2), (8)",
    "real_networks",
)
def factor_of_the_curvature_term() -> Finding:
    """Measure the slope of the mean change of w_ni on the corrected prediction.

    Smooth networks of several widths, with both losses, on Fashion-MNIST.
    """
    networks = itertools.product(("tanh", "softplus"), (16, 64, 256), ("ce", "mse"))
    found = []
    for seed, (activation, width, loss) in enumerate(networks):
        local, w = _local(activation, width, loss, seed, samples=64)
        gradients = curvature.sampled_gradients(local, w, 0.5, draws=50, seed=seed)
        found.append(curvature.slope(gradients, curvature.predicted_gradient(local, w, 0.5)))
    weight = np.array([f.err for f in found]) ** -2
    value = float(np.average([f.value for f in found], weights=weight))
    err = float(weight.sum() ** -0.5)
    printed = float(mean_step.hessian_rate(EQ2.as_printed) / mean_step.hessian_rate(EQ2.corrected))
    near = {name: abs(value - v) < SIGMAS * err for name, v in (("ours", 1), ("paper", printed))}
    verdict = {(True, False): Verdict.CORRECTED, (False, True): Verdict.REPRODUCED}
    return Finding(
        verdict=verdict.get((near["ours"], near["paper"]), Verdict.DIFFERS),
        says="The pull has the stated form and twice the printed strength.",
        value=value,
        err=err,
        n=sum(f.n for f in found),
        quantity="measured over derived pull; 0.5 as printed",
    )


@claim(
    "C24",
    "The kinks of ReLU make the expansion formally invalid but change no conclusion.",
    "footnote 1",
    "real_networks",
)
def kinks_of_relu() -> Finding:
    """Compare the decay rate of |w_ni| with Eq. (2), without and with the pull of the kinks."""
    off, off_with_kinks = [], []
    for seed in range(6):
        local, w = _local("relu", 1024, "mse", seed, samples=128)
        measured = w @ curvature.mean_gradient(local, w, 1.0, nodes=100)
        drift = w @ curvature.predicted_gradient(local, w, 1.0)
        off.append(float(measured / drift) - 1)
        off_with_kinks.append(float(measured / (drift + w @ curvature.kinks(local, w, 1.0))) - 1)
    rms, rms_left = (float(np.sqrt(np.mean(np.square(d)))) for d in (off, off_with_kinks))
    if rms < 0.05:  # the size of the fourth order at this noise
        verdict = Verdict.REPRODUCED
    else:
        verdict = Verdict.CORRECTED if rms_left < rms / 3 else Verdict.DIFFERS
    return Finding(
        verdict=verdict,
        says="Phases are the same, but kinks add a pull of the same order as the Hessian's; with "
        "it the measured rates are as derived.",
        value=rms,
        err=rms / np.sqrt(2 * len(off)),
        n=len(off),
        quantity="relative deviation of the decay rate from the Hessian's, rms over networks",
    )


CATAPULT_WEIGHTS = {s.w1: 1.0, s.w0: 0.1, s.u: 0.1, s.M: 1.0, s.sigma_x: 1.0}
"""Typical initial weights of Fig. 2 (top), read as w1 ~ N(0, 1) and w0, u ~ N(0, 1/100)."""


@claim(
    "C25",
    "Batch fluctuations of the second-order term are negligible throughout.",
    "footnote 2",
    "batch_averages",
)
def fluctuations_of_the_second_order() -> Finding:
    """Measure neglected over kept fluctuations where the linear model's catapult begins."""
    batches, batch_size = 20_000, 50
    border = linear.SIGMA_CAT.corrected.rhs.subs({**CATAPULT_WEIGHTS, s.eta: 0.01})
    sigma_eps = float(border) ** 0.5
    value = mc.measure_neglected(CATAPULT_WEIGHTS, sigma_eps, batch_size, batches)
    formula = linear.FN2.corrected.rhs.subs({**CATAPULT_WEIGHTS, s.sigma_eps: sigma_eps})
    # Relative error of each width: sqrt((kurtosis - 1) / 4 n), with 2 + 12/|B| for eps^2.
    err = value * float(np.sqrt((2 + 12 / batch_size + 2 + 6 / batch_size) / (4 * batches)))
    if abs(value - float(formula)) > SIGMAS * err:
        raise ArithmeticError(f"the measured ratio {value} is not the formula's {formula}")
    return Finding(
        verdict=Verdict.DIFFERS if value > 1 else Verdict.REPRODUCED,
        says="They scale as stated, but where the linear model's catapult begins they exceed the "
        "fluctuation that is kept.",
        value=value,
        err=err,
        n=batches,
        quantity="neglected over kept fluctuation of w_NI at sigma_cat",
    )


@claim(
    "C27",
    "The average of an odd power of the noise over a batch is suppressed by the root of its size.",
    "App. C, Theorem 1",
    "batch_averages",
)
def theorem_1() -> Finding:
    """Fit the exponent of the variance of batch averages for four laws and four powers."""
    fits = [fit for law in mc.LAWS for fit in mc.measure_scaling(law, (1, 2, 3, 4)).values()]
    weight = np.array([fit.exponent_err for fit in fits]) ** -2
    value = float(np.average([fit.exponent for fit in fits], weights=weight))
    # Powers of one law share their samples, so only the laws count as independent.
    err = float(np.sqrt(4 / weight.sum()))
    proved = averages.holds(theorem.THEOREM.corrected)
    as_printed = averages.holds(theorem.THEOREM.as_printed)
    measured = abs(value + 1) < SIGMAS * err < abs(value + 0.5)
    return Finding(
        verdict=Verdict.CORRECTED if proved and measured and not as_printed else Verdict.DIFFERS,
        says="The standard deviation falls as stated; the theorem's variance lacks a root, "
        "though its own proof has it right.",
        value=value,
        err=err,
        n=len(fits),
        quantity="exponent of the variance against the batch size; -0.5 as printed",
    )
