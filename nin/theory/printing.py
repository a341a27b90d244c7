# ruff: noqa: N802  (SymPy finds a printer's methods by the names of its own classes)
"""SymPy objects as LaTeX, in the notation of the paper."""

from __future__ import annotations

from typing import Any

import sympy
from sympy import Add, Expr, Function, Indexed, KroneckerDelta, MatAdd, MatMul, Mul, S, Sum, Symbol
from sympy.printing.latex import LatexPrinter
from sympy.printing.precedence import PRECEDENCE

from nin.theory import symbols as s

NAMES: dict[Any, str] = {
    s.sigma_eps: r"\sigma_\epsilon",
    s.batch_size: r"\lvert\mathcal{B}\rvert",
    s.population_size: r"\lvert\mathcal{A}\rvert",
    s.d_in: r"d_{\mathrm{in}}",
    s.d_out: r"d_{\mathrm{out}}",
    s.width: "N_w",
    s.phi: r"\Phi",
    s.w0: "w^{(0)}",
    s.w1: "w^{(1)}",
    s.u: r"w_{\mathrm{NI}}",
    s.eps: r"\epsilon",
    Symbol("eps"): r"\epsilon",
    Symbol("x"): r"\mathbf{x}",
    Symbol("y"): r"\mathbf{y}",
    Symbol("z"): r"\mathbf{z}",
    s.w_ni: r"W_{\mathrm{NI}}",
    s.w_ni_next: r"W_{\mathrm{NI}}^{(t+1)}",
    s.w_vector: r"W_{\mathrm{NI}}",
    s.mean_hessian: r"\langle\mathcal{H}\rangle",
    s.mean_eps_gradient: r"\langle\epsilon\,\mathbf{g}\rangle",
    s.mean_eps2_hessian: r"\langle\epsilon^2\mathcal{H}\rangle",
    s.mean_gradient_outer: r"\langle\mathbf{g}\,\mathbf{g}^T\rangle",
    s.rms_gradient: r"\sqrt{\langle\mathbf{g}^2\rangle}",
    s.kick: r"\boldsymbol{\xi}",
    s.kick_covariance: r"\mathrm{Cov}(\boldsymbol{\xi})",
    s.loss_gradient: r"\frac{\partial L}{\partial W_{\mathrm{NI}}}",
    s.loss_noisy: r"\langle\mathcal{L}(\theta, W_{\mathrm{NI}})\rangle",
    s.loss_clean: r"\langle\mathcal{L}(\theta)\rangle",
    s.theta_rest: r"\tilde{\theta}",
    s.shift_operator: r"\left(W_{\mathrm{NI}}^T\nabla_{\mathbf{z}}\right)",
    s.q_mean: r"\langle q\rangle",
    s.sigma_n: r"\sigma_{n,\epsilon}",
    s.sigma_2n: r"\sigma_{2n,\epsilon}",
}
_OTHERS = {
    "w1_next": "w^{(1)}_{t+1}",
    "u_next": r"w_{\mathrm{NI},t+1}",
    "w0_next": "w^{(0)}_{t+1}",
    "mean_xx": r"\langle x^2\rangle",
    "mean_xe": r"\langle x\epsilon\rangle",
    "mean_ee": r"\langle\epsilon^2\rangle",
    "t_prime": "t'",
    "mean_H0": r"\langle\mathcal{H}_0\rangle",
    "rms_g0": r"\sqrt{\langle g_0^2\rangle}",
    "neglected_over_kept": r"\frac{\mathrm{neglected}}{\mathrm{kept}}",
    "sigma_dec": r"\sigma_{\epsilon,\mathrm{dec}}",
    "sigma_cat": r"\sigma_{\epsilon,\mathrm{cat}}",
    "sigma_div": r"\sigma_{\epsilon,\mathrm{div}}",
}
_NOISE = (s.eps,)
_FUNCTION_NAMES = {
    "batch_loss": "L",
    "sample_loss": r"\mathcal{L}",
    "loss_flow": "L",
    "w0_flow": "w^{(0)}",
    "w1_flow": "w^{(1)}",
    "u_flow": r"w_{\mathrm{NI}}",
}


def _is_noise_sample(factor: Expr) -> bool:
    base = factor.as_base_exp()[0]
    return isinstance(base, Indexed) and base.base == s.eps_i


class _Printer(LatexPrinter):
    """LaTeX in the paper's notation; matrix sums short terms first, signs in place.

    SymPy finds these methods by the name of the class that they print.
    """

    def _print_Symbol(self, expr: Symbol, style: str = "plain") -> str:
        return _OTHERS.get(expr.name) or super()._print_Symbol(expr, style)

    def _print_MatAdd(self, expr: MatAdd) -> str:
        def key(term: Expr) -> tuple[bool, int, str]:
            negative = term.as_coeff_mmul()[0].could_extract_minus_sign()
            return negative, term.count_ops(), str(term)

        first, *rest = (self._print(term) for term in sorted(expr.args, key=key))
        return first.strip() + "".join(t if t.startswith(" -") else f" + {t}" for t in rest)

    def _print_MatMul(self, expr: MatMul) -> str:
        coefficient, matrices = expr.as_coeff_matrices()
        body = r"\, ".join(self.parenthesize(m, PRECEDENCE["Mul"]) for m in matrices)
        negative = coefficient.could_extract_minus_sign()
        sign, size = (" - ", -coefficient) if negative else ("", coefficient)
        return sign + (body if size == 1 else rf"{self._print(size)}\, {body}")

    def _print_Mul(self, expr: Mul) -> str:
        """Put sums, operators and powers of eps last, as one writes by hand."""
        factors = list(Mul.make_args(expr))
        last = [f for f in factors if isinstance(f, Sum) or not f.is_commutative]
        last = last or [f for f in factors if f.as_base_exp()[0] in _NOISE or _is_noise_sample(f)]
        first = Mul(*(f for f in factors if f not in last))
        if not last or first == 1 or first.could_extract_minus_sign():
            return super()._print_Mul(expr)
        return " ".join(
            self.parenthesize(f, PRECEDENCE["Mul"], strict=True) for f in (first, *last)
        )

    def _print_Add(self, expr: Add, order: str | None = None) -> str:
        """Put what is subtracted after what it is subtracted from."""
        terms = sorted(
            self._as_ordered_terms(expr, order=order), key=lambda t: t.could_extract_minus_sign()
        )
        return super()._print_Add(Add(*terms, evaluate=False), order="none")

    def _print_Sum(self, expr: Sum) -> str:
        """Write a factor 1 - delta_ij as the condition i != j below the sum."""
        deltas = [f for f in Mul.make_args(expr.function) if f.has(KroneckerDelta)]
        body = expr.function.xreplace({f: S.One for f in deltas})
        condition = rf",\, {self._print(s.i)} \neq {self._print(s.j)}" if deltas else ""
        limits = [
            rf"\sum_{{{self._print(a)}={self._print(lo)}%s}}^{{{self._print(hi)}}}"
            for a, lo, hi in reversed(expr.limits)
        ]
        signs = ["" for _ in limits[1:]] + [condition]
        sums = " ".join(limit % sign for limit, sign in zip(limits, signs, strict=True))
        printed = self._print(body)
        return rf"{sums} \left({printed}\right)" if body.is_Add else f"{sums} {printed}"

    def _print_Function(self, expr: Function, exp: str | None = None) -> str:
        name = _FUNCTION_NAMES.get(expr.func.__name__)
        if name is None:
            return super()._print_Function(expr, exp)
        printed = rf"{name}({', '.join(self._print(arg) for arg in expr.args)})"
        return printed if exp is None else rf"\left[{printed}\right]^{{{exp}}}"


def latex(expr: Expr, **settings: Any) -> str:
    r"""Return `expr` as LaTeX, in the notation of the paper.

    Args:
        expr: Any SymPy object.
        **settings: As for `sympy.latex`.

    Example:
        >>> print(latex(s.sigma_eps**2 / s.batch_size))
        \frac{\sigma_\epsilon^{2}}{\lvert\mathcal{B}\rvert}
    """
    settings = {"symbol_names": NAMES, **settings}
    mode = settings.pop("mode", "plain")
    # \\cr breaks a line as \\\\ does, but does not make Sphinx wrap an equation and its number.
    body = _Printer(settings).doprint(expr).replace(r"\\", r"\cr ")
    return {"inline": f"${body}$", "equation": f"$${body}$$"}.get(mode, body)


def use_latex() -> None:
    """Make every SymPy object that ends a notebook cell print in the paper's notation."""
    sympy.init_printing(
        use_latex="mathjax", latex_printer=latex, pretty_printer=lambda expr, **_: str(expr)
    )
