"""nin.curvature.local against torch.func on explicit functions, for several kinds of network."""

import pytest
import torch
from torch import nn
from torch.func import hessian, jacrev

from nin.curvature.lanczos import top_eigenvalue
from nin.curvature.local import LocalLoss
from nin.networks.attachment import attach
from nin.networks.losses import Loss
from nin.networks.models import MLP
from nin.networks.seeds import generator

BATCH = 6
# torch.func.hessian, the peer of these tests, warns of something else in torch.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is:FutureWarning")


def mlp(activation="tanh", loss="ce", layer="layers.0", depth=2):
    g = generator(0, "curvature")
    model = MLP(5, 4, depth, 3, activation=activation).double()
    x, y = torch.randn(BATCH, 5, generator=g).double(), torch.randint(3, (BATCH,), generator=g)
    return LocalLoss(model, layer, x, y, Loss(loss).values)


def of_pre_activation(local):
    """The loss of one sample as a plain function of z, written out by hand."""
    model = local.model
    rest = list(model.layers)[int(local.layer.split(".")[1]) + 1 :]
    act = {"tanh": torch.tanh, "softplus": nn.functional.softplus, "relu": torch.relu}

    def loss(z, y):
        for layer in rest:
            z = layer(act[model.activation](z))
        return local.loss(z.unsqueeze(0), y.unsqueeze(0))[0]

    return loss


@pytest.mark.parametrize("layer", ["layers.0", "layers.1", "layers.2"])
@pytest.mark.parametrize("loss", ["ce", "mse"])
@pytest.mark.parametrize("activation", ["tanh", "softplus", "relu"])
def test_gradient_and_hessian_are_those_of_autodiff(activation, loss, layer):
    local = mlp(activation, loss, layer)
    function, z = of_pre_activation(local), local.pre_activations().detach()
    gradient = torch.stack([jacrev(function)(a, b) for a, b in zip(z, local.y, strict=True)])
    second = torch.stack([hessian(function)(a, b) for a, b in zip(z, local.y, strict=True)])
    # double precision: rounding only
    assert torch.allclose(local.gradient(), gradient, atol=1e-12)
    assert torch.allclose(local.hessian(), second, atol=1e-12)


def test_products_are_those_of_the_formed_hessian():
    local = mlp()
    w = torch.randn(4, generator=generator(1, "w")).double()
    each = local.hessian()
    assert torch.allclose(local.product(w), each @ w, atol=1e-12)
    assert torch.allclose(local.mean_product(w), each.mean(0) @ w, atol=1e-12)
    assert torch.allclose(local.mean_hessian(chunk=3), each.mean(0), atol=1e-12)
    own = torch.randn(BATCH, 4, generator=generator(2, "w")).double()
    assert torch.allclose(local.product(own), torch.einsum("bij,bj->bi", each, own), atol=1e-12)


def test_directional_gradients_are_the_terms_of_the_series():
    local = mlp("softplus")
    w = torch.randn(4, generator=generator(1, "w")).double()
    assert torch.allclose(local.directional_gradient(w, 0), local.gradient(), atol=1e-14)
    assert torch.allclose(local.directional_gradient(w, 1), local.product(w), atol=1e-14)
    eps, total, factorial = 0.05, torch.zeros(BATCH, 4).double(), 1.0
    for order in range(6):
        factorial *= max(order, 1)
        total += local.directional_gradient(w, order) * eps**order / factorial
    moved = local.gradient((eps * w).expand(BATCH, 4))
    assert torch.allclose(total, moved, atol=1e-9)  # the next order is about eps^6/6! = 2e-11


@pytest.mark.parametrize("width", [4, 80])
def test_extreme_eigenvalues_and_trace(width):
    g = generator(0, "wide")
    x, y = torch.randn(20, 5, generator=g).double(), torch.randint(3, (20,), generator=g)
    model = MLP(5, width, 2, 3, activation="tanh").double()
    local = LocalLoss(model, "layers.0", x, y, Loss("mse").values)
    spectrum = torch.linalg.eigvalsh(local.hessian().mean(0))
    low, high = local.extreme_eigenvalues()
    # Lanczos stops at 1e-4 of the spectral radius; both ends may be off by it twice.
    radius = float(spectrum.abs().max())
    assert low == pytest.approx(float(spectrum[0]), abs=3e-4 * radius)
    assert high == pytest.approx(float(spectrum[-1]), abs=3e-4 * radius)
    exact, none = local.trace()
    assert exact == pytest.approx(float(spectrum.sum()), abs=1e-10)
    assert none == 0
    estimate, err = local.trace(draws=200, seed=1)
    assert abs(estimate - exact) < 4.5 * err  # false alarm: below 1e-5


@pytest.mark.parametrize("sign", [1, -1])
def test_the_top_eigenvalue_is_the_largest_in_magnitude_with_its_sign(sign):
    m = torch.randn(120, 120, generator=generator(0, "top")).double()
    m = sign * (m + m.T + 20 * torch.eye(120))
    spectrum = torch.linalg.eigvalsh(m)
    found = top_eigenvalue(lambda v: (m @ v).float(), 120, tolerance=1e-6)
    assert found == pytest.approx(float(spectrum[-1 if sign > 0 else 0]), rel=1e-5)  # float32


def test_a_matrix_that_sends_all_to_0_has_no_eigenvalue_but_0():
    assert top_eigenvalue(torch.zeros_like, 90, tolerance=1e-4) == 0
    tiny = torch.full((90,), 1e-9, dtype=torch.float64)
    assert top_eigenvalue(lambda v: tiny * v, 90, tolerance=1e-4, least=1e-8) == 0


def test_convolutions_are_shifted_by_channel():
    g = generator(0, "conv")
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(3 * 16, 2)
    ).double()
    x, y = torch.randn(4, 1, 6, 6, generator=g).double(), torch.randint(2, (4,), generator=g)
    local = LocalLoss(model, "0", x, y, Loss("ce").values)
    assert local.gradient().shape == (4, 3)

    def of_bias(bias, one, label):
        z = nn.functional.conv2d(one.unsqueeze(0), model[0].weight, bias)
        return local.loss(model[1:](z), label.unsqueeze(0))[0]

    each = [jacrev(of_bias)(model[0].bias, a, b) for a, b in zip(x, y, strict=True)]
    assert torch.allclose(local.gradient(), torch.stack(each), atol=1e-12)
    curved = [hessian(of_bias)(model[0].bias, a, b) for a, b in zip(x, y, strict=True)]
    assert torch.allclose(local.hessian(), torch.stack(curved), atol=1e-12)


def test_measuring_leaves_the_network_as_it_was():
    model = nn.Sequential(
        nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 3)
    )
    attach(model, "0", sigma_eps=1.0)
    model[3].eval()  # a part may be in another mode than the whole
    g = generator(0, "untouched")
    x, y = torch.randn(8, 5, generator=g), torch.randint(3, (8,), generator=g)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    noise = torch.get_rng_state()
    local = LocalLoss(model, "0", x, y, Loss("ce").values)
    local.product(torch.ones(4)), local.trace(), local.gradient()
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), noise)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_attached_node_is_silent_while_measuring():
    local = mlp()
    plain = local.gradient()
    attach(local.model, "layers.0", sigma_eps=5.0)
    local.model.train()
    assert torch.equal(local.gradient(), plain)


def test_bad_input_is_named():
    local = mlp()
    with pytest.raises(ValueError, match=r"no layer 'layers.9'.*it has: layers"):
        LocalLoss(local.model, "layers.9", local.x, local.y, local.loss)
    with pytest.raises(ValueError, match="one number for each of the 6 samples"):
        LocalLoss(local.model, "layers.0", local.x, local.y, nn.functional.cross_entropy)
    with pytest.raises(ValueError, match="draws >= 2"):
        local.trace(draws=1)
    with pytest.raises(ValueError, match="order >= 0"):
        local.directional_gradient(torch.ones(4).double(), -1)
