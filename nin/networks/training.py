"""The training loop: R networks in lock-step, by vanilla SGD or another optimiser."""

from __future__ import annotations

import os
import warnings
from collections.abc import Container, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from nin.networks.alike import check_alike
from nin.networks.attachment import NoiseInjection, nodes, own_hooks
from nin.networks.data import Dataset, Inputs, each, outputs, take
from nin.networks.log import DENSE_STEPS, STEPS_PER_DECADE, Log
from nin.networks.loop_stack import LoopStack, MakeOptimizer
from nin.networks.losses import Loss, LossFunction, check_losses, loss_by_name
from nin.networks.mlp_stack import MLPStack
from nin.networks.models import MLP
from nin.networks.module_stack import ModuleStack, dtype_of, trainable_copy
from nin.networks.replayed import Replayed
from nin.networks.seeds import generator
from nin.runs.history import History, log_spaced_steps

PRECISIONS = ("float32", "bf16")
_PLAIN = (MLP, nn.ModuleList, nn.Linear, NoiseInjection)


def train(
    models: Sequence[nn.Module],
    data: Dataset,
    *,
    loss: Loss | LossFunction | str = "ce",
    eta: float | None = None,
    batch_size: int,
    epochs: int,
    first_epoch: int = 0,
    seeds: Sequence[int] | None = None,
    optimizer: MakeOptimizer | None = None,
    precision: str = "float32",
    evaluations: int = 10,
    progress: bool | None = None,
    observer: Observer | None = None,
) -> list[History]:
    """Train R networks of one architecture side by side, by vanilla SGD, Eq. (7), if not told else.

    Run r draws its batches and its noise from ``seeds[r]`` alone, and its noise law, sigma_eps and
    kind from its own node, so runs of one seed see the same batches and the same noise up to the
    factor sigma_eps, and no run depends on which others train beside it: not by a bit for MLPs on
    a CPU, by float32 rounding for other networks. The last, smaller batch of an epoch is trained on
    too. A run whose loss is no longer finite is frozen and leaves the stack. The networks end with
    their trained weights; a frozen one with those of its last step, finite or not. Layers that draw
    random numbers themselves, such as dropout, take them from torch's global generator.

    Networks that `torch.func` cannot batch (LSTMs, for one) and those with an `optimizer` train one
    after another; a warning says so where it was not asked for.

    Args:
        models: R networks alike in all but weights and noise, with nodes (`nin.attach`) at the same
            layers or none. All on one device, with the data. Parameters that need no gradient stay
            as they are.
        data: What to train on and to validate with.
        loss: A `Loss`, or its name, or a function that returns the loss of each sample, (batch,),
            from outputs and targets.
        eta: Learning rate of vanilla SGD, > 0; leave it out with an `optimizer`.
        batch_size: Samples per step, at most the training set.
        epochs: Passes over the training set, >= 1.
        first_epoch: How many passes earlier calls made: batches and noise go on from there. (An
            `optimizer` begins anew in each call.)
        seeds: Of batches and noise, one per network; default 0, 1, ...
        optimizer: Makes each network's optimiser from its parameter groups, such as ``lambda p:
            torch.optim.AdamW(p, lr=1e-3)``; may return it with a schedule, stepped at each batch.
            The NIWs are the last group, with ``weight_decay=0``.
        precision: ``"float32"``, or ``"bf16"`` (MLPs only): factors and products rounded to
            bfloat16, and multiplied in it where the processor can.
        evaluations: Clean evaluations per decade of steps. Each takes the whole data set, so ten
            of them cost a fifth of a run of 150 epochs, and most of a run of one; 0 for none.
        progress: Whether to show a bar; default: on a terminal or in a notebook, not in CI.
        observer: Sees the networks before each of the steps that it names; the run is the same
            with and without it.

    Returns:
        A history per network.

    Raises:
        ValueError: If an argument is out of range, the networks are not alike, the loss is not one
            number for each sample, or a batch of one reaches a batch norm.
    """
    loss = loss_by_name(loss)
    # What torch.compile wraps trains as it is: the stacks have ways of their own to be fast.
    models = [getattr(m, "_orig_mod", m) for m in models]
    seeds = list(range(len(models)) if seeds is None else seeds)
    _check(models, data, eta, batch_size, epochs, seeds, precision)
    if (eta is None) == (optimizer is None):
        raise ValueError("give eta, of vanilla SGD, or optimizer=, which has its own: one of them")
    if first_epoch < 0:
        raise ValueError(f"first_epoch must be >= 0, not {first_epoch}")
    _check_loss(models[0], loss, data, batch_size)
    _check_last_batch(models[0], data, batch_size)
    seeds = [int(s) for s in seeds]  # a NumPy integer means the same stream
    stack = _stack(models, loss, eta, precision, optimizer, data, batch_size)
    runs = _Lockstep(models, seeds, data, stack)
    steps_per_epoch = -(-len(data.train_y) // batch_size)
    begin, total = first_epoch * steps_per_epoch, (first_epoch + epochs) * steps_per_epoch
    record_at = set(log_spaced_steps(total - 1, DENSE_STEPS, STEPS_PER_DECADE).tolist())
    evaluate_at = set(log_spaced_steps(total, 1, evaluations).tolist() if evaluations else [])
    with tqdm(total=total - begin, unit="step", disable=hide_bar(progress), leave=False) as bar:
        for step in range(begin, total):
            epoch, k = divmod(step, steps_per_epoch)
            if k == 0:
                runs.draw(epoch)
            if step in evaluate_at:
                runs.evaluate(step)
            batch = slice(k * batch_size, (k + 1) * batch_size)
            if observer is not None and step in observer.steps:
                runs.show(step, batch, observer)
            runs.step(step, batch, step in record_at)
            bar.update()
            if not runs.active:
                break
    if runs.active and evaluations:
        runs.evaluate(total)
    return runs.finish(steps_per_epoch)


class Observer(Protocol):
    """What looks at networks while they train."""

    @property
    def steps(self) -> Container[int]:
        """The steps before which it looks."""

    def see(self, run: int, step: int, model: nn.Module, x: Any, y: Tensor, eps: Tensor) -> None:
        """Look at a network as it is before a step; it must be left as it is.

        Args:
            run: Its place among the networks.
            step: The step that comes next.
            model: The network, with its weights of this moment.
            x: Inputs of the step's batch, (batch, ...).
            y: Labels, (batch, ...).
            eps: Noise of each sample, (batch,); (nodes, batch) where there are several.
        """


class Stack(Protocol):
    """R networks of one architecture: what the loop asks of its stacks."""

    dtype: torch.dtype
    optimizer: str

    def step(self, x: Any, y: Tensor, index: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """Take one SGD step in every run; return noisy loss and accuracy before it, (R,) each.

        Each has its batch among all samples, at the places `index`, (R, batch).
        """

    def evaluate(self, x: Any, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return loss and accuracy with eps = 0, (R,) each."""

    def norms(self) -> dict[str, Tensor]:
        """Return the norms of the NIWs and of each weight matrix, (R,) each."""

    def keep(self, runs: Tensor) -> None:
        """Go on with the runs at these places only."""

    def write_back(self, run: int, model: nn.Module) -> None:
        """Copy one run's parameters into a network."""


def _stack(
    models: Sequence[nn.Module],
    loss: Loss | LossFunction,
    eta: float | None,
    precision: str,
    optimizer: MakeOptimizer | None,
    data: Dataset,
    batch_size: int,
) -> Stack:
    """Return the fastest stack that these networks allow."""
    if eta is None or optimizer is not None:
        assert optimizer is not None  # `train` has seen to it that there is one of them
        return LoopStack(models, loss, optimizer)
    mlps = [m for m in models if _is_plain(m)]
    if len(mlps) == len(models) and isinstance(loss, Loss):
        stack = MLPStack(mlps, loss, eta, precision)  # type: ignore[arg-type]
        return Replayed(stack) if data.train_y.is_cuda else stack
    batched = ModuleStack(models, loss, eta)
    index = torch.arange(batch_size, device=data.train_y.device).expand(len(models), -1)
    eps = torch.zeros(max(1, len(batched.nodes)), *index.shape, device=data.train_y.device)
    try:
        x = take(_as(batched.dtype, data.train_x), index)
        with warnings.catch_warnings(record=True):  # of a route that may not be taken
            batched.try_step(x, data.train_y[index], eps)
    except ValueError:  # of a loss or a node, which says what to do
        raise
    except Exception as error:  # whatever it is, the loop meets it again or does without
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        warnings.warn(
            f"these networks train one after another, since torch.func cannot batch them: {reason}",
            stacklevel=3,
        )
        return LoopStack(models, loss, lambda groups: torch.optim.SGD(groups, lr=eta))
    return batched


def _is_plain(model: nn.Module) -> bool:
    """Tell whether `MLPStack` takes a network: an `MLP` as made, all trained, one node at most."""
    if type(model) is not MLP or len(nodes(model)) > 1:
        return False
    if any(type(m) not in _PLAIN or own_hooks(m) for m in model.modules()):
        return False
    return all(p.requires_grad and p.dtype == torch.float32 for p in model.parameters())


def _as(dtype: torch.dtype, x: Inputs) -> Inputs:
    """Return inputs as the networks' numbers; tokens stay integers."""
    return each(x, lambda v: v if v.dtype in (torch.int64, torch.int32) else v.to(dtype))


class _Lockstep:
    """The runs that still train, their stack, and the logs of all.

    Attributes:
        active: Places in `models` of the runs in the stack, in its order.
    """

    def __init__(
        self, models: Sequence[nn.Module], seeds: Sequence[int], data: Dataset, stack: Stack
    ) -> None:
        self.models, self.seeds, self.data, self.stack = models, seeds, data, stack
        self.nodes: list[list[NoiseInjection | None]] = [
            [*nodes(m).values()] or [None] for m in models
        ]
        self.logs = [Log(optimizer=stack.optimizer) for _ in models]
        self.active = list(range(len(models)))
        self.train_x, self.val_x = _as(stack.dtype, data.train_x), _as(stack.dtype, data.val_x)

    def draw(self, epoch: int) -> None:
        """Draw the order of the samples and, in that order, the noise of an epoch.

        They are (runs, n_train) each; of several nodes the noise is (nodes, runs, n_train).
        """
        y = self.data.train_y
        n, device = len(y), y.device
        self.order = torch.stack([_order(self.seeds[r], epoch, n) for r in self.active]).to(device)
        noise = [
            torch.stack([epoch_noise(node, self.seeds[r], epoch, n) for node in self.nodes[r]], 0)
            for r in self.active
        ]
        of_samples = torch.stack(noise, -2).to(device)
        self.noise = of_samples.gather(-1, self.order.expand(of_samples.shape))
        if len(self.noise) == 1:
            self.noise = self.noise[0]

    def show(self, step: int, batch: slice, observer: Observer) -> None:
        """Let an observer see each run's network and what its next step will see."""
        index = self.order[:, batch]
        for i, run in enumerate(self.active):
            self.stack.write_back(i, self.models[run])
            x, y = take(self.data.train_x, index[i]), self.data.train_y[index[i]]
            observer.see(run, step, self.models[run], x, y, self.noise[..., i, batch])

    def step(self, step: int, batch: slice, record: bool) -> None:
        """Take one step; runs whose loss before it was not finite leave the stack."""
        norms = {n: v.tolist() for n, v in self.stack.norms().items()} if record else None
        index, eps = self.order[:, batch], self.noise[..., batch]
        losses, shares = self.stack.step(self.train_x, self.data.train_y, index, eps)
        values = losses.tolist()  # the one word of each step that a GPU is waited for
        for i, run in enumerate(self.active):
            self.logs[run].see(step, values[i], shares[i], norms, i)
        kept = [i for i, value in enumerate(values) if np.isfinite(value)]
        if len(kept) < len(values):
            self._keep(kept)

    def evaluate(self, step: int) -> None:
        """Log the clean losses and accuracies."""
        clean = [
            *self.stack.evaluate(self.train_x, self.data.train_y),
            *self.stack.evaluate(self.val_x, self.data.val_y),
        ]
        for row, run in zip(torch.stack(clean, 1).tolist(), self.active, strict=True):
            self.logs[run].evaluations.append((step, *row))

    def finish(self, steps_per_epoch: int) -> list[History]:
        """Give the networks their trained weights and return the histories."""
        for i, run in enumerate(self.active):
            self.stack.write_back(i, self.models[run])
        return [log.history(steps_per_epoch) for log in self.logs]

    def _keep(self, kept: list[int]) -> None:
        for i in set(range(len(self.active))) - set(kept):
            self.stack.write_back(i, self.models[self.active[i]])
        self.active = [self.active[i] for i in kept]
        if kept:
            places = torch.tensor(kept, device=self.order.device)
            self.stack.keep(places)
            self.order, self.noise = self.order[places], self.noise.index_select(-2, places)


def _order(seed: int, epoch: int, n: int) -> Tensor:
    """Return the order of the training samples in an epoch, (n,) int64."""
    return torch.randperm(n, generator=generator(seed, "batches", epoch))


def epoch_noise(node: NoiseInjection | None, seed: int, epoch: int, n: int) -> Tensor:
    """Return eps of every training sample in an epoch of `train`, (n,) float32.

    Args:
        node: A node of the network; without one, zeros.
        seed: Of the run.
        epoch: From 0; a fixed node has the same in all.
        n: Size of the training set.
    """
    if node is None:
        return torch.zeros(n)
    of_node = [node.name] if node.name else []
    return node.draw(n, generator(seed, "eps", 0 if node.fixed else epoch, *of_node))


def hide_bar(progress: bool | None) -> bool | None:
    """Return tqdm's `disable`: None hides the bar where there is no terminal."""
    if progress is None:
        return True if os.environ.get("CI") else None
    return not progress


def _check(
    models: Sequence[nn.Module],
    data: Dataset,
    eta: float | None,
    batch_size: int,
    epochs: int,
    seeds: Sequence[int],
    precision: str,
) -> None:
    n = len(data.train_y)
    if not models:
        raise ValueError("no network to train")
    if eta is not None and not (np.isfinite(eta) and eta > 0):
        raise ValueError(f"eta must be finite and > 0, not {eta}")
    if not 1 <= batch_size <= n:
        raise ValueError(f"batch_size must be 1 to {n}, the training set's size, not {batch_size}")
    if epochs < 1:
        raise ValueError(f"epochs must be >= 1, not {epochs}")
    if len({id(m) for m in models}) < len(models):
        raise ValueError("the same network is there twice: give each run a copy (copy.deepcopy)")
    if len(seeds) != len(models):
        raise ValueError(f"one seed per network: {len(models)} networks, {len(seeds)} seeds")
    if not all(isinstance(s, int | np.integer) for s in seeds):
        raise ValueError(f"seeds must be whole numbers, not {seeds!r}")
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {PRECISIONS}, not {precision!r}")
    if precision != "float32" and not all(_is_plain(m) for m in models):
        raise ValueError(
            f"precision={precision!r} is for an MLP as it was made, without hooks, all of it "
            "trained; use 'float32'"
        )
    check_alike(models)


def _check_loss(
    model: nn.Module, loss: Loss | LossFunction, data: Dataset, batch_size: int
) -> None:
    """Refuse a loss that is not one number for each sample."""
    probe = trainable_copy(model).eval()
    x = take(_as(dtype_of(model), data.train_x), slice(batch_size))
    with torch.no_grad():
        z = outputs(probe, x)
    if not isinstance(loss, Loss):
        check_losses(loss, z, data.train_y[:batch_size])
        return
    if isinstance(z, Tensor):
        loss.check_labels(z.shape[-1], data.train_y, data.val_y)
    loss.values(z, data.train_y[:batch_size])


def _check_last_batch(model: nn.Module, data: Dataset, batch_size: int) -> None:
    """Refuse to leave one sample for a batch norm at the end of an epoch."""
    n = len(data.train_y)
    if n % batch_size != 1 and batch_size != 1:
        return
    probe = trainable_copy(model)
    for node in nodes(probe).values():
        node.eps = torch.zeros(1, device=data.train_y.device)
    on_gpu = [data.train_y.device] if data.train_y.is_cuda else []
    with torch.no_grad(), torch.random.fork_rng(on_gpu):
        try:
            outputs(probe, take(_as(dtype_of(model), data.train_x), slice(1)))
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ValueError(
                f"batches of {batch_size} leave a single sample of {n} to a batch norm, which has "
                "no variance then: choose another batch_size, or another number of samples"
            ) from error
