"""Entries of the errata that are words: definitions, footnotes, captions and settings.

Those without a test were found by comparing two places of the paper.
"""

from __future__ import annotations

from nin.theory.printing import latex
from nin.theory.rates import kink_mean
from nin.theory.statement import Entry, Slip


def _words(key: str, place: str, printed: str, corrected: str, **rest: object) -> Entry[str]:
    slip = rest.pop("slip", Slip.TYPO)
    return Entry(key, place, "", printed, corrected, slip, **rest)  # type: ignore[arg-type]


_KINK = latex(kink_mean())

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
        test="test_onestep.py::test_kinks_complete_the_prediction_for_relu",
    ),
    Entry(
        "fn-3",
        "footnote 3",
        "The linear model stands for a diagonal linear network.",
        "as printed",
        "as printed",
        Slip.NONE,
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
)
