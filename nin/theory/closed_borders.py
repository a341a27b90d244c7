"""The borders of one hidden ReLU layer in closed form, for both losses.

A layer that the noise dominates is two linear networks, its *halves*: the neurons with w_ni > 0
are on where eps > 0, the others where eps < 0. The squared error of a half follows the noise-only
map of `nin.theory.noise_map`. Under cross-entropy the outputs saturate, and a step mixes w_ni with
the output weights to an extent that the noise alone sets. Random weights enter through |w_ni|^2 of
a half, the largest singular value of its output weights, and the spread of both.
"""

from __future__ import annotations

import sympy
from sympy import Expr, Matrix, Rational, Symbol, log, oo, pi, sqrt

from nin.theory import noise_map
from nin.theory import symbols as s

factor = Symbol("c", positive=True)
"""What multiplies the sum of squares in the squared error: 1/d_out for the mean."""
niw_variance = Symbol("v", positive=True)
"""Initial variance of w_ni; 1/d_in where the node counts as one more input."""
mean_modulus = Symbol("m", positive=True)
"""<|eps|> of the noise; sqrt(2/pi) sigma_eps if it is Gaussian."""
v, rho, side = sympy.symbols("v_i rho varsigma", real=True)
"""Of a neuron: its output weight along the gradient; the strength of a step; which way it goes."""


# ---- A half of the noise


def half_moment(n: int) -> Expr:
    """Return <eps^n> over eps > 0, all samples counted: the n-th moment of a half.

    Args:
        n: The power.

    >>> half_moment(2)
    sigma_eps**2/2
    """
    eps = Symbol("eps", positive=True)
    density = sympy.exp(-(eps**2) / (2 * s.sigma_eps**2)) / sqrt(2 * pi * s.sigma_eps**2)
    return sympy.simplify(sympy.integrate(eps**n * density, (eps, 0, oo)))


# ---- Squared error

SCALE = 2 * factor * s.eta * half_moment(2)
"""eta times the curvature of a half's loss by W w_ni: twice the factor, times the half's power."""


def half_step(outputs: int = 1, neurons: int = 2) -> tuple[Matrix, Matrix, Matrix, Matrix]:
    """Return w_ni and W of a half, and what a step of gradient descent on the noise makes of them.

    The labels are left out: they know nothing of eps, and ask for outputs of order 1/sigma_eps.

    Args:
        outputs: d_out.
        neurons: Of the half.
    """
    u = Matrix(sympy.symbols(f"u1:{neurons + 1}", real=True))
    W = Matrix(outputs, neurons, sympy.symbols(f"W1:{outputs * neurons + 1}", real=True))
    loss = factor * half_moment(2) * (W * u).dot(W * u)
    u_next = u.applyfunc(lambda w: w - s.eta * sympy.diff(loss, w))
    return u, W, u_next, W.applyfunc(lambda w: w - s.eta * sympy.diff(loss, w))


def output_step(u: Matrix, W: Matrix) -> Matrix:
    """Return the next outputs per unit of noise, F = W w_ni, in terms of their own kernel.

    ``F' = (1 - lambda + s^2 |F|^2) F`` with s the `SCALE`; lambda, a matrix, is s times
    |w_ni|^2 + W W^T.

    Args:
        u: w_ni of a half, (neurons, 1).
        W: Its output weights, (outputs, neurons).
    """
    F = W * u
    kernel = SCALE * (u.dot(u) * sympy.eye(W.rows) + W * W.T)
    return F - kernel * F + SCALE**2 * F.dot(F) * F


def aligned_map() -> Matrix:
    """Return the next ``g`` and ``lambda`` of a half whose output is a singular direction of W.

    There W W^T F = mu F, and with a^2 = s |w_ni|^2, b^2 = s mu and g^2 = s^2 |F|^2 the vectors drop
    out: what is left is the noise-only map of the linear model.
    """
    a_sq, b_sq = noise_map.a**2, noise_map.b**2
    g, lam = noise_map.g, noise_map.lam
    next_a_sq = a_sq - 2 * g**2 + g**2 * b_sq  # |w_ni - s W^T F|^2, times s
    next_b_sq = b_sq - 2 * g**2 + g**2 * a_sq  # F^T W' W'^T F / |F|^2, times s
    next_lam = sympy.expand(next_a_sq + next_b_sq).subs(a_sq, lam - b_sq)
    return Matrix([g * (1 - lam + g**2), sympy.expand(next_lam)])


kappa, upsilon, margin = sympy.symbols("kappa upsilon margin", positive=True)
"""The parts of lambda that belong to W and to w_ni at sigma_eps = 1; a rise of |w_ni|^2."""
_more = (margin - 1) * upsilon
RISE_SQ = (
    2 * (kappa + _more + sqrt(2 * _more * (kappa - upsilon)))
    / (kappa**2 + (margin + 1) * _more * upsilon)
)  # fmt: skip
"""sigma_eps^2 above which |w_ni|^2 rises by the factor `margin`, to lowest order in the outputs.

A step adds g^2 (b^2 - 2) to a^2 and g^2 (a^2 - 2) to b^2, so that (2 - a^2)^2 - (2 - b^2)^2 stays;
a^2 is largest where b^2 has fallen to 2. With a margin of 1 this is b^2 = 2 at the start. It holds
where kappa is more than `OUTWEIGHS` times upsilon; else the run diverges before |w_ni|^2 rises so.
"""
OUTWEIGHS = 2 * margin - 1
"""What kappa/upsilon must exceed for |w_ni|^2 to rise by the margin short of divergence.

At lambda = 4 the constant of `RISE_SQ` is 0, so that a^2 + b^2 stays 4 and a^2 ends at 2: it rises
by the factor 2/a^2 = (kappa + upsilon)/2 upsilon. With less noise it ends below 2. Again to lowest
order: less than a percent from divergence steps are long enough to overshoot."""


def edge(rows: Expr, columns: Expr, variance: Expr) -> Expr:
    """Return the largest eigenvalue of W W^T for wide random W: the Marchenko-Pastur edge.

    Args:
        rows: Of W.
        columns: Of W.
        variance: Of its independent entries.
    """
    return variance * (sqrt(rows) + sqrt(columns)) ** 2


HALF = s.width / 2
"""Neurons of a half, on average."""
NIW_SQ = HALF * niw_variance
"""|w_ni|^2 of a half, on average."""
EDGE = sympy.expand(edge(s.d_out, HALF, 1 / s.width))
"""Largest eigenvalue of W W^T of a half, output weights of variance 1/N_w."""
LAMBDA = SCALE * (NIW_SQ + EDGE)
"""eta times the largest curvature of the noisy loss at the initial weights."""


def _where(curvature: Expr, level: Expr) -> Expr:
    """Return sigma_eps^2 at which a curvature, proportional to it, passes a level."""
    return s.sigma_eps**2 * level / curvature


FAN_IN = {niw_variance: 1 / s.d_in}
MEAN = {factor: 1 / s.d_out}
"""The mean over outputs."""
SURGE_SQ = _where(LAMBDA, noise_map.GROWTH)
"""sigma_eps^2 above which the loss on noise rises."""
CATAPULT_SQ = _where(SCALE * EDGE, noise_map.GROWTH)
"""sigma_eps^2 above which w_ni rises too."""
DIVERGENT_SQ = _where(LAMBDA, noise_map.LAMBDA_DIV)
"""sigma_eps^2 above which nothing ends the rise."""
UNIT = s.d_in / (s.width * s.eta)
"""Table 1's unit of sigma_eps^2 for the squared error."""
K_DIV = 80 / (1 + s.d_in / s.width * (1 + sqrt(20 / s.width)) ** 2)
"""`DIVERGENT_SQ` in Table 1's unit, for ten outputs and their mean."""


def window_closes(least: Expr | int = 1) -> Expr:
    """Return N_w above which w_ni rises only where the run diverges: no catapult is left.

    There `EDGE` is `OUTWEIGHS` times `NIW_SQ`, that is root(N_w) (root(N_w) - r) = r root(2 d_out),
    with r the root of d_in/`OUTWEIGHS`.

    Args:
        least: The `margin` from which on a rise of |w_ni|^2 counts; 1 counts every rise.
    """
    root = Symbol("root", positive=True)  # of N_w
    r = sqrt(s.d_in / OUTWEIGHS.subs(margin, least))
    roots = sympy.solve(root**2 - r * (root + sqrt(2 * s.d_out)), root)
    return max(roots, key=lambda x: x.subs({s.d_in: 1, s.d_out: 1})) ** 2  # the other is negative


# ---- What finite numbers of neurons and outputs change

TW_MEAN, TW_VAR = sympy.Float("-1.2065335746"), sympy.Float("1.6077810346")
"""Mean and variance of the Tracy-Widom law of real matrices."""
_roots = sqrt(HALF - Rational(1, 2)), sqrt(s.d_out - Rational(1, 2))
EDGE_CENTRE = sum(_roots) ** 2 / s.width
EDGE_SCALE = sum(_roots) * (1 / _roots[0] + 1 / _roots[1]) ** Rational(1, 3) / s.width
"""Centre and scale of the largest eigenvalue, in which its law is Tracy and Widom's."""


def imbalance() -> Expr:
    """Return the variance of the difference between the two halves' |w_ni|^2 + top of W W^T.

    Three things differ: the squares of w_ni (variance 3 v^2 for each neuron, with its sign), the
    numbers of neurons, which move the edge, and the two largest eigenvalues themselves.
    """
    n = Symbol("n", positive=True)
    per_neuron = sympy.diff(edge(s.d_out, n, 1 / s.width), n).subs(n, HALF)
    squares, together = 3 * niw_variance**2, niw_variance  # <w^4>, <w^2>
    neurons = s.width * (squares + 2 * per_neuron * together + per_neuron**2)
    return neurons + 2 * TW_VAR * EDGE_SCALE**2


TOP = NIW_SQ + EDGE_CENTRE + TW_MEAN * EDGE_SCALE + sqrt(imbalance() / (2 * pi))
"""Mean over initial weights of the larger half's |w_ni|^2 + top of W W^T.

The larger of two exceeds their mean by half the modulus of their difference, taken as normal."""
DIVERGENT_FINITE_SQ = _where(SCALE * TOP, noise_map.LAMBDA_DIV)
"""`DIVERGENT_SQ` for finite numbers of neurons and outputs, on average over initial weights."""


def counted_catapult(least: Expr | float) -> Expr:
    """Return sigma_eps^2 above which |w_ni|^2 rises by a margin, or the run diverges before.

    For finite layers, as `DIVERGENT_FINITE_SQ`; what that adds is counted as the output weights'.

    Args:
        least: The `margin`.
    """
    per_noise = SCALE / s.sigma_eps**2
    parts = {kappa: per_noise * (TOP - NIW_SQ), upsilon: per_noise * NIW_SQ, margin: least}
    outweighs = (kappa > OUTWEIGHS * upsilon).subs(parts, simultaneous=True)
    rise = RISE_SQ.subs(parts, simultaneous=True)
    return sympy.Piecewise((rise, outweighs), (DIVERGENT_FINITE_SQ, True))


# ---- Cross-entropy

GRADIENT_SQ = (1 - 1 / s.d_out) ** 2 + (s.d_out - 1) / s.d_out**2
"""|p - y|^2, p all on one class and y averaged over labels that know nothing of eps."""
STRENGTH = s.eta * sqrt(sympy.factor(GRADIENT_SQ)) * mean_modulus / 2
"""rho: eta |g| times the half's <|eps|>, which is half of the noise's."""
GAUSSIAN = {mean_modulus: 2 * half_moment(1)}


def neuron_step() -> Matrix:
    """Return the next w_ni and v of one neuron, v the part of its output weight along the gradient.

    A saturated softmax passes back a gradient g of fixed size: p - y with p all on the class that
    leads. ``side`` is +1 or -1: which class leads in the half that the neuron is on in, and the
    sign of its w_ni.
    """
    return Matrix([s.u - side * rho * v, v - side * rho * s.u])


INVARIANT = s.u**2 - v**2
"""Of each neuron, for two classes: multiplied by 1 - rho^2 in every step, whatever the side."""
RHO_DIV = sqrt(2)
"""Above this rho the modulus of `INVARIANT` grows in every step."""


def saturated_border() -> Expr:
    """Return the <|eps|> at which rho reaches its limit."""
    return sympy.simplify(sympy.solve(STRENGTH - RHO_DIV, mean_modulus)[0])


RHO_TURN = sympy.Integer(1)
"""Above this rho the step turns the part of a neuron that the leading class sees, by 1 - rho < 0:
its w_ni changes sign, and the neuron goes over to the other half."""
DIVERGENT_CE = 2 * sqrt(pi) / (s.eta * sqrt(1 - 1 / s.d_out))
"""sigma_eps at rho = `RHO_DIV`, Gaussian noise: where cross-entropy with two classes diverges."""
TURN_CE = DIVERGENT_CE * RHO_TURN / RHO_DIV
"""sigma_eps at rho = `RHO_TURN`: where many classes do, by simulation."""


def leader_step(classes: int, leader: int = 0) -> Matrix:
    """Return the step of a neuron's (w_ni, output weights) while one class leads in its half.

    Symmetric, with eigenvalues 1 - rho, 1 + rho and 1: it mixes w_ni and the output weight along
    p - y, and leaves the others. Its determinant is 1 - rho^2 for any number of classes.

    Args:
        classes: d_out.
        leader: The class that leads.
    """
    g = Matrix([sympy.Integer(k == leader) - Rational(1, classes) for k in range(classes)])
    kick = rho * g / sqrt(g.dot(g))
    step = sympy.eye(classes + 1)
    step[0, 1:], step[1:, 0] = -kick.T, -kick
    return step


def batch_shift() -> Expr:
    """Return rho at the border for two classes and batches of |B|, to first order in 1/|B|.

    The next orders are 1 % at |B| = 128.

    A batch makes rho a random number. The border is where the mean of ln|1 - rho^2| passes 0, by
    `INVARIANT`. Each sample adds |eps| (p - y).g/|g| to it, and that is 0 or sqrt(2), one as often
    as the other.
    """
    noise, shift = sympy.symbols("delta x", real=True)
    spread = _relative_variance()
    grows = log((RHO_DIV * (1 + shift) * (1 + noise)) ** 2 - 1)
    series = sympy.series(grows.subs(shift, 0), noise, 0, 3).removeO()
    slope = sympy.diff(grows.subs(noise, 0), shift).subs(shift, 0)
    drop = series.coeff(noise, 2) * spread  # <delta> = 0
    return sympy.simplify(RHO_DIV * (1 - drop / slope))


def _relative_variance() -> Expr:
    """Return the variance of a batch's rho over its squared mean, two classes."""
    mean = mean_modulus / 2 / sqrt(2)
    square = s.sigma_eps**2 / 2
    return (square / mean**2 - 1) / s.batch_size


FIRST_RISE = 1 + rho**2 / (s.width * niw_variance)
"""|w_ni|^2 after the first saturated step over its start, for many neurons and any classes."""


def first_rise(least: Expr | float) -> Expr:
    """Return sigma_eps^2 at which `FIRST_RISE` is a margin, Gaussian noise.

    Args:
        least: The `margin`.
    """
    return (least - 1) * s.width * niw_variance * TURN_CE**2


SMALL_OUTPUTS = {factor: 1 / (2 * s.d_out)}
"""Makes `SURGE_SQ` that of cross-entropy while the outputs are near 0: its Hessian there is
(1 - 1/d_out)/d_out on all but the sum of outputs, half of the squared error's 2 c."""


# ---- Several hidden layers


def chain_step(depth: int) -> tuple[Matrix, Matrix]:
    """Return the weights along one path through the network, and a saturated step of them.

    The output is their product; the gradient that comes back has a fixed size, as in `neuron_step`.
    A network is a sum of such paths, so that what its step does to sizes this one shows.

    Args:
        depth: Hidden layers.
    """
    weights = Matrix(sympy.symbols(f"theta0:{depth + 1}", real=True))
    product = sympy.prod(weights)
    return weights, weights.applyfunc(lambda w: w - side * rho * sympy.diff(product, w))


def deep_curvature(depth: int) -> Expr:
    """Return `LAMBDA` for several hidden layers, each half as many neurons on: wide layers.

    Every layer halves the square of what passes it, forth and back. That is the curvature at the
    initial weights; where a product of more than two layers diverges, it does not say.

    Args:
        depth: Hidden layers.
    """
    above = [EDGE / 2 ** (depth - k) for k in range(1, depth + 1)]  # of the weights after layer k
    size = [NIW_SQ / 2 ** (k - 1) for k in range(1, depth + 1)]  # of its neurons, per eps^2
    inner = sum(size[k] * above[k + 1] for k in range(depth - 1))
    return SCALE * (above[0] + inner + size[-1])
