"""Entries of the errata that are words: definitions, footnotes, captions and settings.

Those without a test were found by comparing two places of the paper.
"""

from __future__ import annotations

from sympy import Expr

from nin.theory import gradient_flow as flow
from nin.theory import symbols as s
from nin.theory.mean_step import kink_mean
from nin.theory.printing import latex
from nin.theory.statement import Chain, Entry, Slip


def _words(key: str, place: str, printed: str, corrected: str, **rest: object) -> Entry[str]:
    slip = rest.pop("slip", Slip.TYPO)
    return Entry(key, place, "", printed, corrected, slip, **rest)  # type: ignore[arg-type]


def _right(key: str, place: str, says: str, page: str = "", test: str = "") -> Entry[str]:
    """Return an entry with nothing to correct."""
    same = "as printed"
    return Entry(key, place, says, same, same, Slip.NONE, page=page, test=test)


def time_scale(form: Chain) -> Expr:
    """Return the time of Sec. 4 in which a quantity falls by a factor e at its first rate.

    Args:
        form: Its flow equation, such as Eq. (24) or (25).

    Returns:
        The time in units of flow time, in the weights of t = 0.
    """
    falling = form.lhs.args[0]
    at_start = {flow.f0(flow.t): s.w0, flow.f1(flow.t): s.w1}
    return (-falling / form.rhs).subs(at_start)


_KINK = latex(kink_mean())
_TAU_NOISE, _TAU_LOSS = (latex(time_scale(e.corrected)) for e in (flow.EQ25, flow.EQ24))
_CLAIM = "test_claims.py::test_verdict"

ENTRIES: tuple[Entry[str], ...] = (
    _words(
        "sec2-shapes",
        "Sec. 2, shapes",
        r"$W^{(\ell)} \in \mathbb{R}^{d_\ell\times d_{\ell+1}}$ with "
        r"$\mathbf{z} = W\cdot\mathbf{x}$; $W_\mathrm{NI}\in\mathbb{R}^{1\times d}$ with "
        r"$W_\mathrm{NI}^T\cdot\nabla$; $\mathcal{L}: \mathbb{R}^{d_\mathrm{in}}\to\mathbb{R}$",
        r"$\mathbf{z} = W^T\mathbf{x}$; $W_\mathrm{NI}\in\mathbb{R}^{d}$; the loss takes the "
        r"label too, and $\tilde\theta$ leaves out the bias of the layer as well",
        why="Shapes only; every product that follows is meant as we write it.",
    ),
    _words(
        "fn-1",
        "footnote 1",
        "Kinks of the activation make the expansion formally invalid and change no conclusion.",
        rf"Each unit adds ${_KINK}$, times what it passes on, to the mean gradient: a pull of the "
        "same order as the curvature term.",
        slip=Slip.INCOMPLETE,
        why="Phases survive; rates of decay move by tens of percent.",
        matters=True,
        page="real_networks#relu-kinks",
        test="test_pull.py::test_kinks_complete_the_prediction_for_relu",
    ),
    _right(
        "fn-3",
        "footnote 3",
        "The linear model stands for a diagonal linear network, on average over batches and as "
        "long as no coordinate diverges.",
        page="diagonal#footnote-3",
        test="test_diagonal.py::test_coordinates_with_nodes_of_their_own_do_not_feel_each_other",
    ),
    _right(
        "sec3-optimum",
        "Sec. 3, loss and optimum",
        r"The loss is half the mean squared error; its minimum is $w^{(1)} w^{(0)} = M$, "
        r"$w_\mathrm{NI} = 0$.",
        test="test_theory_errata.py::test_optimum_of_the_linear_model",
    ),
    _right(
        "eq-3-terms",
        "Sec. 3, below Eq. (3)",
        r"The five terms $A$, $\tilde A$, $B$, $\tilde B$ and $C$.",
        page="linear_model#eq-3",
        test="test_theory_linear.py::test_eq_3_is_the_step_of_sgd_with_mean_second_moments",
    ),
    _right(
        "sec3-decay",
        "Sec. 3, decay phase",
        r"The mean of $w_\mathrm{NI}$ falls exponentially, by the $\tilde B$ term.",
        page="linear_model#top-of-fig-2",
        test=_CLAIM,
    ),
    _words(
        "fn-5",
        "footnote 5",
        r"A noise weight that grows until the decoupled phase is left is quickly restored by the "
        r"$\tilde B$ term.",
        r"It is restored, in about $1/(\tilde B\sigma_\epsilon^2)$ steps: in noise so weak, many "
        "times as long as learning takes.",
        slip=Slip.INCOMPLETE,
        why="The term that restores is the one that is weak in the decoupled phase.",
        page="decoupled#footnote-5",
        test=_CLAIM,
    ),
    _words(
        "fn-6",
        "footnote 6",
        r"Cases such as a $w_\mathrm{NI}$ that decays without an effect on the other weights do "
        "not matter.",
        r"This case is the decay phase. Another matters: after a catapult either weight may be the "
        r"one that survives, and where it is $w_\mathrm{NI}$, $w^{(1)}$ is pressed towards zero.",
        slip=Slip.INCOMPLETE,
        why="The dynamics of the noise alone is symmetric in its two weights.",
        page="where_weights_end#outcome-census",
        test=_CLAIM,
    ),
    _words(
        "fn-7",
        "footnote 7",
        "With a bounded activation divergence is replaced by a failure of learning, as neurons "
        "saturate.",
        "Nothing diverges and most neurons saturate, but learning is slow rather than at an end.",
        slip=Slip.INCOMPLETE,
        why="Longer runs of the same networks go on learning.",
        page="real_networks#footnote-7",
        test=_CLAIM,
    ),
    _words(
        "catapult-window",
        "Sec. 3, catapult phase",
        r"$2/\tilde B_0 < \sigma_\epsilon < 2/B_0$",
        r"$2/\tilde B_0 < \sigma_\epsilon^2 < 4/(B_0 + \tilde B_0)$",
        slip=Slip.WRONG,
        why=r"The window between $\sigma_{\epsilon,\mathrm{cat}}$ and "
        r"$\sigma_{\epsilon,\mathrm{div}}$ with both corrected: at most a factor 2 wide.",
        matters=True,
        page="phases#sigma-div",
        test="test_theory_linear.py::test_catapult_window_is_never_wider_than_two",
    ),
    _words(
        "tau",
        "Sec. 4, below Eq. (4)",
        r"$\tau_\mathrm{noise}$ and $\tau_\mathrm{loss}$ are defined, and their unit is not named.",
        rf"$\tau_\mathrm{{noise}} = {_TAU_NOISE}$ and $\tau_\mathrm{{loss}} = {_TAU_LOSS}$, at the "
        r"weights of $t = 0$, in flow time; divided by $\eta$ they are in steps.",
        slip=Slip.INCOMPLETE,
        page="two_times#tau-ratio",
        test="test_theory_errata.py::test_decay_times_are_those_of_the_first_steps",
    ),
    _words(
        "appc-absolute",
        "App. C, below Eq. (6)",
        r"$\langle\mathbf{g}^2\rangle$ is the mean of absolute values.",
        r"$\langle\mathbf{g}^2\rangle$ is the mean of squares.",
        why="Its root in Eq. (2) is then a root mean square, as Theorem 1 needs.",
        test="test_theory_theorem.py::test_odd_line_is_the_theorem_without_mean",
    ),
    _words(
        "appc-large-numbers",
        "App. C, below Theorem 1",
        "For large batches the theorem follows from the law of large numbers.",
        "The variance is exact for every batch size, by independence alone; large batches make "
        "the distribution Gaussian (central limit theorem).",
        slip=Slip.INCOMPLETE,
        page="batch_averages#theorem-1",
        test="test_theory_theorem.py::test_each_corrected_line_holds_and_each_wrong_line_fails",
    ),
    _words(
        "appc-moments",
        "App. C, Theorem 1",
        "The noise has a symmetric density.",
        "Its moments up to order $2n$ must exist as well; Cauchy noise has none.",
        slip=Slip.INCOMPLETE,
        page="batch_averages#theorem-1",
        test="test_batch_means.py::test_cauchy_noise_does_not_average_out",
    ),
    _words(
        "sec2-linear",
        "Sec. 2, App. A, App. D",
        "the linear model of Sec. 2",
        "the linear model of Sec. 3",
        why="Cross references.",
    ),
    _words(
        "fig2-purple",
        "Fig. 2, caption",
        "The purple line is the loss weights.",
        "The purple line is the loss.",
    ),
    _words(
        "fig2-relaxation",
        "Fig. 2 and 3, captions",
        "Larger noise means a longer relaxation.",
        "The noise weight relaxes faster. The data weights relax later, and only where the noise "
        r"presses on $w^{(1)}$.",
        slip=Slip.INCOMPLETE,
        page="linear_model#top-of-fig-2",
        test=_CLAIM,
    ),
    _words(
        "fig3-caption",
        "Fig. 3, caption",
        "Data weights are drawn black and red.",
        "Red is the norm of the next layer, and nothing is black: the sentences are those of "
        "Fig. 2 (top).",
    ),
    _words(
        "fig3-depth",
        "App. A, on Fig. 3",
        "a 3 layer MLP",
        "one hidden layer, by the caption and by App. B",
    ),
    _words(
        "appb-init",
        "App. B, initial weights",
        r"$w_0, w_{\mathrm{NI},0} = 1/\sqrt{N_\text{fan-in}}$",
        r"$w_0, w_{\mathrm{NI},0} \sim \mathcal{N}(0, 1/N_\text{fan-in})$",
        why="A width, not a value.",
    ),
    _words(
        "appb-fig2-init",
        "App. B, on Fig. 2 (top)",
        r"$w^{(0)}, w_\mathrm{NI}$ are drawn from $\mathcal{N}(0, 1)$ and from "
        r"$\mathcal{N}(0, 1/100)$.",
        r"One of them must be $w^{(1)}$. Both readings are possible, and they differ: "
        r"$w^{(1)}\sim\mathcal{N}(0,1)$ gives the catapult driven by the noise weight that the "
        "text describes.",
        slip=Slip.INCOMPLETE,
        page="linear_model#top-of-fig-2",
        test=_CLAIM,
    ),
    _words(
        "appb-normalisation",
        "App. B, weights",
        "weight normalization",
        "the variance of the initial weights; not the method of that name",
    ),
    _words(
        "appb-variance",
        "App. B, data",
        "Data are divided by their variance.",
        "Divided by the standard deviation, we assume; `scaling` offers both.",
        slip=Slip.INCOMPLETE,
    ),
    _words(
        "table1-mse",
        "Table 1, MSE",
        "The squared error over ten outputs is not normalised in words.",
        "Their mean, we assume; `mse_norm` offers the sum and the halves too.",
        slip=Slip.INCOMPLETE,
        why="The curvature, and with it every border, is proportional to the factor.",
    ),
)
