"""The linear model in numbers: exact SGD, gradient flow, censuses of its plane, its borders."""

from typing import TYPE_CHECKING

from nin.faces import lazy_face

if TYPE_CHECKING:
    from nin.linear.border_formulas import LayerBorders, layer_borders
    from nin.linear.derived_borders import LinearBorders, linear_borders
    from nin.linear.epochs import simulate_epochs
    from nin.linear.fixed_noise import NoiseFit, fit_fixed_noise
    from nin.linear.flow import closed_form, integrate, langevin, late_rate
    from nin.linear.model import LinearRuns, simulate
    from nin.linear.noise_net import NoiseNet, noise_border
    from nin.linear.plane import PlaneRuns, draw_start, run_plane

__all__ = [
    "LayerBorders", "LinearBorders", "LinearRuns", "NoiseFit", "NoiseNet", "PlaneRuns",
    "closed_form", "draw_start", "fit_fixed_noise", "integrate", "langevin", "late_rate",
    "layer_borders", "linear_borders", "noise_border", "run_plane", "simulate", "simulate_epochs",
]  # fmt: skip
__getattr__, __dir__ = lazy_face(
    __name__,
    __all__,
    ("noise_net", "border_formulas", "derived_borders", "model", "plane", "flow", "epochs",
     "fixed_noise"),
)  # fmt: skip
