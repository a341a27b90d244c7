"""How the pages write a number with its error."""

from __future__ import annotations

from math import floor, log10

import numpy as np
import numpy.typing as npt

from nin.runs.averages import mean


def mean_text(
    values: npt.ArrayLike, digits: str = ".4g", err_digits: str = ".2g", sign: str = " ± "
) -> str:
    """Write the mean of independent values with its standard error; one value is written alone.

    Args:
        values: The values, (n,); infinite or NaN where there is none.
        digits: Format of the mean.
        err_digits: Format of the error.
        sign: What stands between the two.

    Returns:
        The text; ``"none"`` if a value is missing.

    >>> mean_text([1.0, 2.0, 3.0]), mean_text([2.0]), mean_text([2.0, float("inf")])
    ('2 ± 0.58', '2', 'none')
    """
    if not np.isfinite(values).all():
        return "none"
    value, err = mean(values)
    return f"{value:{digits}}" + (f"{sign}{err:{err_digits}}" if np.size(values) > 1 else "")


def median_and_range(values: npt.ArrayLike) -> str:
    """Write the median of values to three digits, and between which they lie.

    >>> median_and_range([3.0, 1.0, 2.0])
    '2 (1 to 3)'
    """
    v = np.asarray(values, float)
    return f"{np.median(v):.3g} ({v.min():.3g} to {v.max():.3g})"


def two_digits(value: float, err: float, n: int) -> str:
    """Write a value with its error, both to the error's second digit, and how many it is from.

    Args:
        value: The value.
        err: Its standard error; 0 if there is none.
        n: Number of independent runs or draws.

    >>> two_digits(0.98765, 0.0123, 6), two_digits(0.5, 0, 1), two_digits(47, 0, 3)
    ('0.988 ± 0.012, from 6', '0.5, exactly', '47, from 3')
    """
    if not err:
        return f"{value:.4g}, " + (f"from {n}" if n > 1 else "exactly")
    return f"{with_error(value, err)}, from {n}"


def with_error(value: float, err: float) -> str:
    """Write a value with its error, both to the error's second digit.

    >>> with_error(0.4501, 0.0213), with_error(5120.4, 33.3), with_error(2.0, 0.0)
    ('0.450 ± 0.021', '5120 ± 33', '2 ± 0')
    >>> with_error(2.5, float("nan")), with_error(float("inf"), float("nan"))
    ('2.5', '∞')
    """
    if not np.isfinite([value, err]).all():
        return number_text(value)
    if err <= 0:
        return f"{number_text(value)} ± 0"
    decimals = max(0, 1 - floor(log10(err)))
    return f"{value:.{decimals}f} ± {err:.{decimals}f}"


def number_text(value: float) -> str:
    """Write a number to three digits; what is far from 1 as a power of ten.

    >>> number_text(0.4499), number_text(1e-4), number_text(3.68e16), number_text(5126.12)
    ('0.45', '10⁻⁴', '3.68 × 10¹⁶', '5126')
    >>> number_text(float("inf")), number_text(float("nan"))
    ('∞', '–')
    """
    if not np.isfinite(value):
        return "–" if np.isnan(value) else "∞" if value > 0 else "−∞"
    if isinstance(value, int) or value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:{'.3g' if abs(value) < 1000 else '.0f'}}".replace("-", "−")
    digits, power = f"{value:.2e}".split("e")
    digits = digits.rstrip("0").rstrip(".").replace("-", "−")
    raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return ("" if digits == "1" else f"{digits} × ") + f"10{raised}"
