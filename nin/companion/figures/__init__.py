"""The figures: each function draws data into axes that it is given."""

from nin.faces import lazy_face

__all__ = [
    "ACTIVATION_COLORS", "NEXT", "NIW", "PHASE_COLORS", "SIGMA_EPS", "TEST", "TRAIN",
    "VERDICT_STYLES", "add_legend", "add_ratio_legend", "add_slope_legend", "add_verdict_legend",
    "draw_beyond", "draw_bias", "draw_borders", "draw_choices", "draw_comparison",
    "draw_comparisons", "draw_costs", "draw_curvatures", "draw_decays", "draw_falls",
    "draw_first_steps", "draw_halving", "draw_ledger", "draw_loss_rates", "draw_memories",
    "draw_outcomes", "draw_phase_bar", "draw_phases", "draw_powers", "draw_pulls", "draw_ratios",
    "draw_roc", "draw_sight", "draw_slopes", "draw_spreads", "draw_times", "draw_told",
    "draw_two_bars", "draw_window", "use_style",
]  # fmt: skip
__getattr__, __dir__ = lazy_face(
    __name__,
    __all__,
    ("style", "border_bars", "border_dots", "decays", "feature_areas", "halving",
     "ledger_dots", "node_panels", "panels", "powers", "rates"),
)  # fmt: skip
