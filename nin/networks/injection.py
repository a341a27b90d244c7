"""What a node injects: z + eps * w_ni, with one number eps per sample of a forward pass."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.hooks import RemovableHandle

from nin.networks.axes import Axes, first_tensor, sequence_first
from nin.networks.seeds import generator

Law = Callable[..., Tensor]


def _gaussian(
    n: int, g: torch.Generator | None = None, device: torch.device | None = None
) -> Tensor:
    return torch.randn(n, **_source(g), device=device, dtype=torch.float32)


def _uniform(
    n: int, g: torch.Generator | None = None, device: torch.device | None = None
) -> Tensor:
    u = torch.rand(n, **_source(g), device=device, dtype=torch.float32)
    return u.mul_(2).sub_(1).mul_(math.sqrt(3))


def _rademacher(
    n: int, g: torch.Generator | None = None, device: torch.device | None = None
) -> Tensor:
    return torch.randint(2, (n,), **_source(g), device=device).mul_(2).sub_(1).float()


def _source(g: torch.Generator | None) -> dict[str, Any]:
    # A compiler that leaves the batch size open takes no generator=None.
    return {} if g is None else {"generator": g}


NOISE_LAWS: dict[str, Law] = {
    "gaussian": _gaussian,
    "uniform": _uniform,
    "rademacher": _rademacher,
}
"""Symmetric laws of unit variance: ``law(n, generator, device)`` draws n values, float32.

Without a generator they come from the one that PyTorch keeps for the device.
"""
_REMEMBERED = 10_000  # calls whose noise a recomputation may still ask for
_NOT_IN_FX = (
    "torch.fx records the layers of a network without its noise: attach to the network that it "
    "returns"
)


class NoiseInjection(nn.Module):
    """A node whose random output reaches one layer's pre-activations (Sec. 2, Eq. 1).

    In training, z -> z + eps * w_ni with one scalar eps per sample of the batch, of variance
    sigma_eps**2. In ``eval()`` eps is 0 (App. B) and z passes untouched.

    A node draws as `torch.nn.Dropout` does: anew in each forward pass, from PyTorch's generator of
    the device. So ``torch.manual_seed``, activation checkpointing, compilation, and one seed per
    rank do to it what they do to Dropout. A pass is a call of the network that `attach` was given
    (or of a part of it); a layer that is called several times in one has the same eps each time.

    That is the re-randomised NIN wherever a sample is seen once an epoch. To give every training
    sample a value of its own, name `n_samples`, say `select` before each forward pass, and `redraw`
    at each epoch for a re-randomised NIN, or never for a fixed one. These values come from `seed`
    alone, so that a sample has the same on all ranks. `nin.train` does all this by itself.

    Attributes:
        w_ni: The NIWs, (size,).
        sigma_eps: Standard deviation of eps, finite and >= 0; a new value holds from the next pass
            on.
        eps: What the next passes inject, (batch,); empty: draw at each. What `select` puts here is
            used once; what you put here yourself stays, if the node has no `n_samples`.
        samples: Noise of each training sample over sigma_eps, (n_samples,); empty without.
        draws: How many times `samples` was drawn anew.
    """

    w_ni: nn.Parameter

    def __init__(
        self,
        size: int,
        sigma_eps: float,
        *,
        noise: str = "gaussian",
        fixed: bool = False,
        n_samples: int | None = None,
        init_std: float = 1.0,
        feature_dim: int | None = -1,
        batch_dim: int | None = 0,
        seed: int = 0,
        name: str = "",
    ) -> None:
        """Make a node; `attach` is the usual way.

        Args:
            size: Number of features (or channels) of the layer.
            sigma_eps: Standard deviation of eps; finite, >= 0.
            noise: Law of eps, a key of `NOISE_LAWS`.
            fixed: Whether each sample keeps its eps for the whole training; in a training loop of
                your own, name `n_samples` too.
            n_samples: Size of the training set, for values that belong to samples.
            init_std: Standard deviation of the initial NIWs; finite, >= 0.
            feature_dim: Axis of z that w_ni runs along; None: the one that has its length.
            batch_dim: Axis of z that eps runs along; None: the first, checked against the
                network's input.
            seed: Of the initial NIWs and of `samples`.
            name: Tells nodes of one seed apart.

        Raises:
            ValueError: If an argument is out of range or the noise law unknown.
        """
        super().__init__()
        self.sigma_eps = sigma_eps
        if not (math.isfinite(init_std) and init_std >= 0):
            raise ValueError(f"init_std must be finite and >= 0, not {init_std}")
        if noise not in NOISE_LAWS:
            raise ValueError(f"noise must be one of {sorted(NOISE_LAWS)}, not {noise!r}")
        if size < 1:
            raise ValueError(f"size must be a positive number of features, not {size}")
        if n_samples is not None and (n_samples < 1 or int(n_samples) != n_samples):
            raise ValueError(f"n_samples must be a positive number of samples, not {n_samples}")
        self.noise, self.fixed = noise, fixed
        self.init_std, self.seed, self.name = init_std, seed, name
        self.axes = Axes(batch_dim, feature_dim)
        self.w_ni = nn.Parameter(torch.empty(size))
        self.reset_parameters()
        # Plain tensors rather than buffers, which DDP would copy from the first rank to all.
        self.eps, self.draws = torch.zeros(0), 0
        self.samples = torch.zeros(0) if n_samples is None else self._draw_samples(n_samples)
        self.handles: list[RemovableHandle] = []
        self.layer_class: type = nn.Module
        self._is_selected = False
        self._outermost: int | None = None  # the part of the network whose call is the open pass
        self._input: Tensor | None = None  # of the open pass
        self._items: int | None = None  # of that, if it is a list
        self._eps: Tensor | None = None  # of the open pass
        self._was_called = False
        self._places: dict[int, tuple[int, int]] = {}  # axes of samples and features, by z.ndim
        self._remembered: dict[int, Tensor] = {}

    @property
    def sigma_eps(self) -> float:
        """Standard deviation of eps."""
        return self._sigma_eps

    @sigma_eps.setter
    def sigma_eps(self, value: float) -> None:
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"sigma_eps must be finite and >= 0, not {value}")
        self._sigma_eps = float(value)

    def reset_parameters(self) -> None:
        """Give the NIWs their initial values."""
        start = torch.randn(len(self.w_ni), generator=self._stream("w_ni")) * self.init_std
        with torch.no_grad():
            self.w_ni.copy_(start)

    def draw(
        self, n: int, g: torch.Generator | None = None, device: torch.device | None = None
    ) -> Tensor:
        """Draw n values of eps, (n,), from `g` or from PyTorch's generator of the device."""
        return NOISE_LAWS[self.noise](n, g, device) * self.sigma_eps

    def redraw(self) -> None:
        """Give every sample a new eps: the start of an epoch of a re-randomised NIN."""
        self.draws += 1
        self.samples = self._draw_samples(len(self.samples))

    def select(self, index: Tensor) -> None:
        """Inject the eps of these training samples in the next forward pass.

        Args:
            index: Positions of the batch in the training set, (batch,) int64.

        Raises:
            ValueError: If the node was made without `n_samples`, or there is no such sample.
        """
        if not len(self.samples):
            raise ValueError("this node has no values per sample: make it with n_samples=...")
        index, n = torch.as_tensor(index).cpu(), len(self.samples)
        if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < n:
            raise ValueError(
                f"expected positions 0 to {n - 1} of training samples, not {int(index.min())} to "
                f"{int(index.max())}"
            )
        eps = self.samples[index] * self.sigma_eps
        self.eps, self._is_selected = eps.to(self.w_ni.device), True
        # The generator moves on, so that its state tells this pass from all others.
        torch.rand((), device=self.w_ni.device)

    def forward(self, z: Tensor) -> Tensor:
        """Inject the noise.

        Args:
            z: Pre-activations, of any number of axes.

        Returns:
            z + eps * w_ni in training, z itself in ``eval()``; of z's dtype.

        Raises:
            ValueError: If eps was selected for another batch size or not at all, or z has other
                features or no axis of samples.
        """
        if not self.training:
            return z
        if not (z.is_floating_point() or z.is_complex()):
            raise ValueError(f"a node needs a layer that puts out real numbers, not {z.dtype}")
        self._note_call()
        batch_dim, feature_dim = self._place(z)
        eps = self._noise(z.shape[batch_dim], z.device)
        if len(eps) != z.shape[batch_dim] or z.shape[feature_dim] != len(self.w_ni):
            raise ValueError(
                f"the node holds eps for {len(eps)} samples and {len(self.w_ni)} weights, but z "
                f"is {tuple(z.shape)} with the batch on axis {batch_dim} and the features on "
                f"axis {feature_dim}: set batch_dim and feature_dim, or select the batch"
            )
        batch, feature = [1] * z.ndim, [1] * z.ndim
        batch[batch_dim], feature[feature_dim] = -1, -1
        return z + (eps.view(batch) * self.w_ni.view(feature)).to(z.dtype)

    def extra_repr(self) -> str:
        """Say what is injected, in a printed network."""
        return f"{len(self.w_ni)}, sigma_eps={self.sigma_eps:g}, noise={self.noise}"

    # ---- the hooks of `attach`

    def on_output(self, layer: nn.Module, inputs: tuple[Any, ...], z: Tensor) -> Tensor:
        """Inject into a layer's output: the layer's forward hook."""
        if getattr(layer, "_is_replica", False):
            raise ValueError(
                "a node cannot follow its layer into the copies of nn.DataParallel: use "
                "DistributedDataParallel"
            )
        if getattr(layer, "nin", None) is not self:
            if type(layer) is not self.layer_class and not hasattr(layer, "parametrizations"):
                raise ValueError(
                    f"a {type(layer).__name__} took the place of the layer of this node, which is "
                    "lost: exchange layers (to quantise them, say) before nin.attach"
                )
            return z  # the node was deleted, and its hook stayed
        if not isinstance(z, Tensor):
            raise ValueError(
                f"a node needs a layer that returns a tensor, but a {type(layer).__name__} "
                f"returns a {type(z).__name__}: name another layer"
            )
        if self._outermost is None and self.training:  # nobody called the network
            if not torch.compiler.is_compiling() and _is_called_by_fx():
                raise ValueError(_NOT_IN_FX)
            self._input = first_tensor(inputs)
            try:
                return self(z)
            finally:
                self._input = None
        return self(z)

    def on_enter(
        self, depth: int, _part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Begin a pass, unless a call from further out has begun it already."""
        # What is as far out as the open pass is not part of it, but follows one that was broken off
        if not self.training or (self._outermost is not None and depth > self._outermost):
            return
        given = (*args, *kwargs.values())
        self._outermost, self._eps = depth, None
        self._input, self._items = first_tensor(given), None
        if given and isinstance(given[0], list):
            self._items = len(given[0])
        ddp = DistributedDataParallel._active_ddp_module
        if ddp is not None and all(p is not self.w_ni for p in ddp._module_parameters):
            raise ValueError(
                "this node was attached after DistributedDataParallel took the network's "
                "parameters, and its w_ni would drift apart between ranks: attach before wrapping"
            )
        if torch.compiler.is_compiling() and self._input is not None and self.axes.batch is None:
            # Within a checkpointed segment a compiler allows no change of state: draw before it.
            if not len(self.eps) or len(self.samples):
                self._eps = self._fresh(len(self._input), self.w_ni.device)

    def on_leave(self, depth: int, part: nn.Module, _args: tuple[Any, ...], out: Any) -> None:
        """End a pass, or one that broke off: what was selected for it is used up."""
        if not self.training or depth != self._outermost:
            return
        x, self._outermost, self._input, self._eps = self._input, None, None, None
        if torch.compiler.is_compiling():
            return  # the checks are those of an uncompiled pass
        if out is None and sys.exc_info()[0] is not None:
            return
        if isinstance(out, torch.fx.Proxy):
            raise ValueError(_NOT_IN_FX)
        if not self._was_called and any(m is self for m in part.modules()):
            raise ValueError(
                f"the layer of {self} was not called in a forward pass of the "
                f"{type(part).__name__}: its weights may be read without calling it. Name another "
                "layer, or attach to the part of the network that calls it"
            )
        if self.axes.batch is None and not self.axes.channels and x is not None:
            if (shape := sequence_first(x, out)) is not None:
                raise ValueError(
                    f"the network turns {tuple(x.shape)} into {shape}, so that samples seem to lie "
                    "on the second axis of its input: say batch_dim=... of the layer"
                )

    def __prepare_scriptable__(self) -> NoReturn:
        """Refuse `torch.jit.script`, which asks here first."""
        raise ValueError(
            "torch.jit.script compiles source and cannot compile the hooks through which a node "
            "sees a pass: use torch.export or torch.jit.trace, which record one, or script the "
            "network after nin.detach"
        )

    # ---- what a checkpoint holds

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        # Not as buffers, which model.half() would round. Tensors, since safetensors takes no else.
        destination[f"{prefix}sigma_eps"] = torch.tensor(self.sigma_eps, dtype=torch.float64)
        if len(self.samples):
            destination[f"{prefix}samples"] = self.samples
            destination[f"{prefix}draws"] = torch.tensor(self.draws)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: Mapping[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        for name, kind in (("sigma_eps", float), ("samples", Tensor.clone), ("draws", int)):
            if (value := state_dict.pop(f"{prefix}{name}", None)) is not None:
                setattr(self, name, kind(value))
        lost: list[str] = []
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, lost, unexpected_keys, error_msgs
        )
        missing_keys.extend(_Missing(key) for key in lost)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to passes that wait for their backward."""
        return self.__dict__ | {"_remembered": {}}

    # ----

    def _note_call(self) -> bool:
        """Note that the layer is called at all; a compiler does so while it reads the network."""
        self._was_called = True
        return True

    _note_call._dynamo_marked_constant = True  # type: ignore[attr-defined]

    def _stream(self, *what: object) -> torch.Generator:
        return generator(self.seed, *what, *([self.name] if self.name else []))

    def _draw_samples(self, n: int) -> Tensor:
        return NOISE_LAWS[self.noise](n, self._stream("samples", self.draws))

    def _place(self, z: Tensor) -> tuple[int, int]:
        """Return the axes of samples and features: found once, then checked."""
        place, x = self._places.get(z.ndim), self._input
        if place is None:
            if x is None and self._outermost is not None and self.axes.batch is None:
                raise ValueError(
                    f"the layer puts out {tuple(z.shape)}, and the network was given no tensor "
                    "that tells how many samples there are: say batch_dim=... of the layer"
                )
            place = self.axes.find(z.shape, x, len(self.w_ni), self._items)
            # Of one sample any axis will do, and for the next batch it may not.
            if not torch.compiler.is_compiling() and (x is None or len(x) > 1):
                self._places[z.ndim] = place
        elif x is not None:
            self.axes.check(z.shape, x, self._items)
        return place

    def _noise(self, n: int, device: torch.device) -> Tensor:
        """Return the noise of this pass, (n,), or of the one that is computed again."""
        if len(self.eps) and not len(self.samples):
            return self.eps.to(device)
        is_drawn, eager = not len(self.samples), not torch.compiler.is_compiling()
        eps, is_old = self._eps, True
        if eps is None and eager and self._remembered and _is_backward():
            eps = self._remembered.get(_state_of(device))
        if eps is None:
            eps, is_old = self._fresh(n, device), False
        if eager and (is_old or not is_drawn):
            # Checkpointing computes a call again from the generator's state, which is all that
            # tells whose noise it had, where the call did not draw it itself.
            self._remembered[_state_of(device)] = eps
            if len(self._remembered) > _REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            if is_drawn:
                torch.rand((), device=device)  # no two passes meet in one state
        if self._outermost is not None and self._eps is None:
            self._eps = eps
        return eps

    def _fresh(self, n: int, device: torch.device) -> Tensor:
        """Return what was selected for this pass, or a draw."""
        if len(self.samples):
            if not self._is_selected or _is_backward():  # what is selected is of the next pass
                raise ValueError(
                    "say node.select(index) before a forward pass, and before each: eps belongs to "
                    "samples. (Recomputation needs checkpoint's preserve_rng_state=True)"
                )
            self._is_selected = False
            return self.eps.to(device)
        if self.fixed:
            raise ValueError("fixed noise belongs to samples: make the node with n_samples=...")
        return self.draw(n, device=device)


class _Missing(str):
    """The key of a node that a checkpoint lacks; an error about it says what to do."""

    def __format__(self, spec: str) -> str:
        """Return the key and the advice."""
        return (
            f"{self!s} (a node that the checkpoint does not have: load it before nin.attach, or "
            "with strict=False)"
        )


def _is_backward() -> bool:
    """Tell whether a backward pass is under way, where a forward pass is one computed again."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


def _is_called_by_fx() -> bool:
    """Tell whether a layer is called by a network that `torch.fx` returned."""
    frame = sys._getframe()
    while (frame := frame.f_back) is not None:  # type: ignore[assignment]
        if isinstance(frame.f_locals.get("self"), torch.fx.GraphModule):
            return True
    return False


def _state_of(device: torch.device) -> int:
    """Return what tells a state of PyTorch's generator of a device from others."""
    if device.type in ("cpu", "meta"):
        state = torch.get_rng_state()
    else:
        state = torch.get_device_module(device).get_rng_state(device)
    return hash(state.numpy().tobytes())
