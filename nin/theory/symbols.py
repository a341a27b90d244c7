"""The paper's symbols, once, under ASCII names.

A symbol has one meaning in the whole book: every expression of `nin.theory` is made of these
objects. `nin.theory.printing` knows how the paper writes them.
"""

from __future__ import annotations

import sympy
from sympy import Function, IndexedBase, MatrixSymbol, Symbol

# Scalars. eta: learning rate; sigma_eps: standard deviation of the noise; batch_size: |B|.
eta = Symbol("eta", positive=True)
sigma_eps = Symbol("sigma_eps", positive=True)
batch_size = Symbol("batch_size", integer=True, positive=True)
population_size = Symbol("population_size", integer=True, positive=True)
phi = Symbol("phi", real=True)
sigma_x = Symbol("sigma_x", positive=True)
w0, w1, u, M = sympy.symbols("w0 w1 u M", real=True)

# Sizes of a network: inputs, neurons of a hidden layer, outputs.
d_in, width, d_out = sympy.symbols("d_in width d_out", integer=True, positive=True)

# Indices and orders. i, j: samples of a batch; k: order of the expansion; n: power of eps.
i, j, k, n = sympy.symbols("i j k n", integer=True, positive=True)

# One sample, and the i-th sample of a batch.
q, eps = sympy.symbols("q eps", real=True)
q_i, eps_i, x_i, y_i, z_i = (IndexedBase(name) for name in ("q", "eps", "x", "y", "z"))

# Vectors and matrices of the injected layer, of width d.
d = Symbol("d", integer=True, positive=True)
w_ni = MatrixSymbol("w_ni", d, 1)
w_ni_next = MatrixSymbol("w_ni_next", d, 1)
mean_hessian = MatrixSymbol("mean_hessian", d, d)
mean_eps_gradient = MatrixSymbol("mean_eps_gradient", d, 1)
mean_eps2_hessian = MatrixSymbol("mean_eps2_hessian", d, d)
mean_gradient_outer = MatrixSymbol("mean_gradient_outer", d, d)
rms_gradient = MatrixSymbol("rms_gradient", d, 1)
kick = MatrixSymbol("kick", d, 1)
kick_covariance = MatrixSymbol("kick_covariance", d, d)
loss_gradient = MatrixSymbol("loss_gradient", d, 1)
loss_noisy = MatrixSymbol("loss_noisy", 1, 1)
loss_clean = MatrixSymbol("loss_clean", 1, 1)

# The loss as an abstract function, and the operator w_ni . grad_z that shifts its argument.
theta, theta_rest, w_vector = sympy.symbols("theta theta_rest w_vector")
batch_loss = Function("batch_loss")
sample_loss = Function("sample_loss", commutative=False)
shift_operator = Symbol("shift_operator", commutative=False)

# Moments of Theorem 1: <q>, Q^2 = <q^2>, <eps^n> = sigma_n^n, <eps^2n> = sigma_2n^2n.
q_mean = Symbol("q_mean", real=True)
Q, sigma_n, sigma_2n = sympy.symbols("Q sigma_n sigma_2n", positive=True)
