"""Footnote 3's diagonal linear network with several nodes: what separates, and what does not.

Coordinate k is fitted by ``v_k (u_k x_k + sum_j n_kj eps_j)`` where ``M_k x_k`` is wanted, and the
outputs add up; nodes at the output layer add ``m_j delta_j`` to the sum. Coordinates x and noises
eps and delta are independent, of variance sigma_x^2 and sigma_eps^2.
"""

from __future__ import annotations

import sympy
from sympy import Expr, Matrix, MutableDenseMatrix, Symbol

from nin.theory import symbols as s


def weights(coordinates: int, nodes: int, outputs: int = 0) -> dict[str, MutableDenseMatrix]:
    """Return symbols for all weights, and the slopes M to learn.

    Args:
        coordinates: Of the input.
        nodes: At the first layer, each with a weight to every coordinate.
        outputs: Nodes at the output layer.
    """
    sizes = {"v": (coordinates, 1), "u": (coordinates, 1), "M": (coordinates, 1)}
    sizes |= {"n": (coordinates, nodes), "m": (outputs, 1)}
    return {
        name: Matrix(*size, lambda i, j, name=name: Symbol(f"{name}_{i}{j}", real=True))
        for name, size in sizes.items()
    }


def own_nodes(n: Matrix, each: int = 1) -> MutableDenseMatrix:
    """Return the noise weights with those alone that join a coordinate to its own nodes.

    Args:
        n: Weights of all nodes to all coordinates.
        each: Nodes of each coordinate.
    """
    return Matrix(*n.shape, lambda i, j: n[i, j] if j // each == i else 0)


def sample_loss(w: dict[str, MutableDenseMatrix]) -> tuple[Expr, list[Symbol], list[Symbol]]:
    """Return the loss of one sample, its coordinates, and its noises.

    Args:
        w: From `weights`, some of them set to 0.
    """
    coordinates, nodes = w["n"].shape
    x, eps, delta = (
        list(sympy.symbols(f"{name}0:{size}", real=True))
        for name, size in (("x", coordinates), ("eps", nodes), ("delta", w["m"].rows))
    )
    before = [u * x_k for u, x_k in zip(w["u"], x, strict=True)]
    before = [b + sum(w["n"][k, j] * eps[j] for j in range(nodes)) for k, b in enumerate(before)]
    output = sum(v * b for v, b in zip(w["v"], before, strict=True))
    output += sum(m * d for m, d in zip(w["m"], delta, strict=True))
    wanted = sum(M * x_k for M, x_k in zip(w["M"], x, strict=True))
    return (output - wanted) ** 2 / 2, x, eps + delta


def averaged_loss(w: dict[str, MutableDenseMatrix]) -> Expr:
    """Return the loss averaged over inputs and noises: only squares of one of them survive.

    Args:
        w: As for `sample_loss`.
    """
    loss, x, noises = sample_loss(w)
    variances = dict.fromkeys(x, s.sigma_x**2) | dict.fromkeys(noises, s.sigma_eps**2)
    poly = sympy.Poly(sympy.expand(loss), *variances)
    return sum(
        sympy.factor(poly.coeff_monomial(z**2)) * variance for z, variance in variances.items()
    )


def coupling(loss: Expr, some: list[Symbol], others: list[Symbol]) -> Matrix:
    """Return the mixed second derivatives of a loss: 0 where one group does not feel the other."""
    return sympy.hessian(loss, [*some, *others])[: len(some), len(some) :].applyfunc(sympy.expand)


v_sq, n_sq, g = sympy.symbols("v_squared n_squared g", real=True)
"""|v|^2 and |n|^2 of all coordinates that share a node, and v.n eta sigma_eps^2."""


def shared_map(coordinates: int) -> Matrix:
    """Return the next ``(g, lambda)`` of a node that all coordinates share, without data.

    ``g = eta sigma_eps^2 v.n`` and ``lambda = eta sigma_eps^2 (|v|^2 + |n|^2)``, in the weights.

    Args:
        coordinates: That share it.
    """
    w = weights(coordinates, 1)
    unit = s.eta * s.sigma_eps**2
    loss = averaged_loss(w).subs(s.sigma_x, 0)
    v, n = (z - s.eta * Matrix([loss]).jacobian(list(z)).T for z in (w["v"], w["n"]))
    return Matrix([unit * v.dot(n), unit * (v.dot(v) + n.dot(n))])


def border_own(each: int = 1) -> Expr:
    """Return sigma_eps^2 above which one coordinate with nodes of its own diverges."""
    n = sympy.symbols(f"n0:{each}", real=True)
    return 4 / (s.eta * (Symbol("v", real=True) ** 2 + sum(n_j**2 for n_j in n)))


BORDER_SHARED = 4 / (s.eta * (v_sq + n_sq))
"""The same for a node that all coordinates share: it sees their weights together."""
BORDER_OUTPUT = 2 / s.eta
"""sigma_eps^2 above which the weight of a node at the outputs grows, whatever the others do."""


def curvature_behind(depth: int) -> list[Expr]:
    """Return the curvature by the weight of a node at each layer of one coordinate, over sigma^2.

    The product of the squares of the weights behind the node, and of no other.

    Args:
        depth: Layers.
    """
    w = sympy.symbols(f"w0:{depth}", real=True)
    return [sympy.prod(w_l**2 for w_l in w[layer + 1 :]) for layer in range(depth)]
