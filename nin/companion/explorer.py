"""The linear model in JavaScript, for the explorer on the page of the phases.

SymPy prints the step, the losses and the borders; tables, rules and colours are those that the
package uses. Only what surrounds them is written by hand, in ``book/_ext/live/explorer.mjs``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import sympy
from sympy import Expr, Symbol
from sympy.codegen.rewriting import create_expand_pow_optimization

from nin.companion.figures.style import NEXT, NIW, PHASE_COLORS, TEST, TRAIN
from nin.linear import batch_draws as moments
from nin.linear.model import LARGEST
from nin.runs import phases
from nin.runs.phases import Phase
from nin.theory import noise_map
from nin.theory import symbols as s
from nin.theory import two_layer as theory

SEEDS = 100
"""The explorer offers this many seeds; each names the stream that `simulate` uses."""
_BATCH = (theory.mean_xx, theory.mean_xe, theory.mean_ee)
_SETTING = (*theory.WEIGHTS, s.sigma_eps, s.eta, s.batch_size, s.M, s.sigma_x)


def arrow_function(arguments: Sequence[Symbol], values: Sequence[Expr]) -> str:
    """Return JavaScript for a function of numbers that returns an array of numbers.

    Args:
        arguments: Its arguments, under their own names.
        values: What it returns, in terms of them.

    >>> a, b = sympy.symbols("a b")
    >>> arrow_function([a, b], [a**2, 3 * b])
    '(a, b) => { return [a*a, 3*b]; }'
    """
    as_products = create_expand_pow_optimization(4)  # a square costs less than Math.pow
    shared, results = sympy.cse(list(values))
    lines = [f"const {name} = {sympy.jscode(as_products(value))};" for name, value in shared]
    returned = ", ".join(sympy.jscode(as_products(value)) for value in results)
    body = " ".join([*lines, f"return [{returned}];"])
    return f"({', '.join(map(str, arguments))}) => {{ {body} }}"


def rule_module() -> str:
    """Return the JavaScript module of the rule of the phases, and of the book's colours."""
    values: dict[str, object] = {
        "MARGIN": phases.MARGIN,
        "DECAYED": phases.DECAYED,
        "LAST": phases.LAST,
        "PHASES": list(Phase),
        "PHASE_COLORS": [PHASE_COLORS[phase] for phase in Phase],
        "COLORS": {"train": TRAIN, "test": TEST, "w_ni": NIW, "next": NEXT},
    }
    return constants(values)


def constants(values: dict[str, object]) -> str:
    """Return JavaScript that exports values under their names."""
    return "".join(f"export const {name} = {json.dumps(v)};\n" for name, v in values.items())


def model_module() -> str:
    """Return the JavaScript module of ``model``: what the explorer takes from the package."""
    sigma_cat, sigma_div = (
        sympy.sqrt(entry.corrected.rhs) for entry in (theory.SIGMA_CAT, theory.SIGMA_DIV)
    )
    borders = [theory.SIGMA_DEC.corrected.rhs, sigma_cat, sigma_div]
    squares = [noise_map.SCALED[w] ** 2 for w in (noise_map.a, noise_map.b)]
    functions = {
        "step": arrow_function([*theory.WEIGHTS, s.M, s.eta, *_BATCH], [*theory.batch_step()]),
        "loss": arrow_function(_SETTING, [noise_map.mean_loss()]),
        "borders": arrow_function(_SETTING, borders),
        "plane": arrow_function(_SETTING, squares),
    }
    words = [moments._GOLDEN, moments._MIX_1, moments._MIX_2]
    numbers = {
        "words": [f"{int(word):016x}" for word in words],
        "streams": [f"{int(moments.streams(seed, 1)[0]):016x}" for seed in range(SEEDS)],
        "width": moments._WIDTH.tolist(),
        "inner": moments._INNER.tolist(),
        "height": moments._HEIGHT.tolist(),
        "tail": moments._R,
        "largest": LARGEST,
        "colors": {"w1": NEXT, "u": NIW, "loss": TRAIN},
        "growth": int(noise_map.GROWTH),
        "divergence": int(noise_map.LAMBDA_DIV),
    }
    fields = [f"{name}: {code}" for name, code in functions.items()]
    fields += [f"{name}: {json.dumps(value)}" for name, value in numbers.items()]
    return "export const model = {\n  " + ",\n  ".join(fields) + ",\n};\n"
