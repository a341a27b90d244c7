"""The largest eigenvalue of a matrix that is never formed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from nin.networks.seeds import generator


def top_eigenvalue(
    product: Callable[[Tensor], Tensor],
    size: int,
    tolerance: float,
    vectors: int | None = None,
    least: float = 0.0,
) -> float:
    """Return the eigenvalue of largest magnitude of a symmetric matrix, by Lanczos.

    Args:
        product: Multiplies the matrix by a vector, (size,) float64; what it returns may be of
            another type, and on another device.
        size: Rows of the matrix.
        tolerance: Relative accuracy.
        vectors: Of the Lanczos basis; a loose tolerance needs no more than 10. Default SciPy's.
        least: A matrix that stretches a random direction by no more counts as 0.

    >>> diagonal = torch.arange(100.0)
    >>> round(top_eigenvalue(lambda v: diagonal * v, 100, tolerance=1e-6), 3)
    99.0
    """

    def apply(v: np.ndarray) -> np.ndarray:
        return np.asarray(product(torch.from_numpy(v.ravel())).double().cpu().numpy())

    start = torch.randn(size, generator=generator(0, "lanczos"), dtype=torch.float64).numpy()
    if np.linalg.norm(apply(start)) <= least * np.linalg.norm(start):
        return 0.0  # Lanczos has nowhere to go
    operator = LinearOperator((size, size), apply, dtype=np.float64)
    found = eigsh(operator, 1, v0=start, ncv=vectors, tol=tolerance, return_eigenvectors=False)
    return float(found[0])
