"""One step of w_ni: the loss behind a layer, its curvature, and what Eq. (2) says of the pull."""

from nin.curvature.eq2 import (
    halving,
    kick_size,
    kink_gradient,
    kink_pull,
    kinks,
    next_order,
    predicted_gradient,
    resting_size,
    step_rates,
)  # fmt: skip
from nin.curvature.gauss_newton import LinearInNoise, output_hessian, top_curvature
from nin.curvature.lanczos import top_eigenvalue
from nin.curvature.local import LocalLoss, local_loss
from nin.curvature.measured_slope import Slope, is_resolved, missed_part, over, ratio, slope
from nin.curvature.node_report import NodeReport, Report, report
from nin.curvature.noise_curvature import Curve, Prediction, noisy_curve
from nin.curvature.pull import (
    fluctuations,
    mean_gradient,
    niw_gradient,
    noise_averages,
    sampled_gradients,
)  # fmt: skip

__all__ = [
    "Curve", "LinearInNoise", "LocalLoss", "NodeReport", "Prediction", "Report", "Slope",
    "fluctuations", "halving", "is_resolved", "kick_size", "kink_gradient", "kink_pull",
    "kinks", "local_loss", "mean_gradient", "missed_part", "next_order", "niw_gradient",
    "noise_averages", "noisy_curve", "output_hessian", "over", "predicted_gradient", "ratio",
    "report", "resting_size", "sampled_gradients", "slope", "step_rates", "top_curvature",
    "top_eigenvalue",
]  # fmt: skip
