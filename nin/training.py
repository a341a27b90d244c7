"""The training loop: vanilla SGD of R networks in lock-step."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from nin.data import Dataset
from nin.history import History, log_spaced_steps
from nin.losses import Loss
from nin.mlp_stack import MLPStack
from nin.models import MLP
from nin.module_stack import ModuleStack
from nin.nodes import NoiseInjection, find_node
from nin.seeds import generator

PRECISIONS = ("float32", "bf16")
DENSE_STEPS, STEPS_PER_DECADE = 200, 60
"""The noisy loss is kept at every step up to `DENSE_STEPS`: a catapult takes tens of steps."""
EVALUATIONS_PER_DECADE = 10
"""Clean losses need the whole data set: log-spaced, they cost a fifth of a long run."""


def train(
    models: Sequence[nn.Module],
    data: Dataset,
    *,
    loss: Loss | str = "ce",
    eta: float,
    batch_size: int,
    epochs: int,
    seeds: Sequence[int] | None = None,
    precision: str = "float32",
    progress: bool | None = None,
) -> list[History]:
    """Train R networks of one architecture side by side by vanilla SGD, Eq. (7).

    Run r draws its batches and its noise from ``seeds[r]`` alone, and its noise law, sigma_eps and
    kind from its own node, so runs of one seed see the same batches and the same noise up to the
    factor sigma_eps, and no run depends on which others train beside it. The last, smaller batch
    of an epoch is trained on too. A run whose loss is no longer finite is frozen and leaves the
    stack. The networks end with their trained weights.

    Args:
        models: R networks alike in all but weights and noise, with a node each (`nin.attach`) or
            none. All on one device, with the data.
        data: What to train on and to validate with.
        loss: A `Loss`, or its name.
        eta: Learning rate, > 0.
        batch_size: Samples per step, at most the training set.
        epochs: Passes over the training set, >= 1.
        seeds: Of batches and noise, one per network; default 0, 1, ...
        precision: ``"float32"``, or ``"bf16"`` (MLPs only): products in bfloat16.
        progress: Whether to show a bar; default: on a terminal or in a notebook, not in CI.

    Returns:
        A history per network.

    Raises:
        ValueError: If an argument is out of range, or the networks are not alike.
    """
    loss = Loss(loss) if isinstance(loss, str) else loss
    seeds = list(range(len(models)) if seeds is None else seeds)
    _check(models, data, eta, batch_size, epochs, seeds, precision)
    stack: MLPStack | ModuleStack
    if all(type(m) is MLP for m in models):
        stack = MLPStack(models, loss, eta, precision)  # type: ignore[arg-type]
    else:
        stack = ModuleStack(models, loss, eta)
    train_x, val_x = data.train_x.to(stack.dtype), data.val_x.to(stack.dtype)
    n = len(train_x)
    steps_per_epoch = -(-n // batch_size)
    total = epochs * steps_per_epoch
    record_at = set(log_spaced_steps(total - 1, DENSE_STEPS, STEPS_PER_DECADE).tolist())
    evaluate_at = set(log_spaced_steps(total, 1, EVALUATIONS_PER_DECADE).tolist())
    logs = [_Log() for _ in models]
    active = list(range(len(models)))
    nodes = [found[1] if (found := find_node(m)) else None for m in models]

    def evaluate(step: int) -> None:
        clean = [*stack.evaluate(train_x, data.train_y), *stack.evaluate(val_x, data.val_y)]
        for row, run in zip(torch.stack(clean, 1).tolist(), active, strict=True):
            logs[run].evaluations.append((step, *row))

    bar = tqdm(total=total, unit="step", disable=hide_bar(progress), leave=False)
    for epoch in range(epochs):
        order = torch.stack([_order(seeds[r], epoch, n) for r in active]).to(train_x.device)
        noise = torch.stack([_noise(nodes[r], seeds[r], epoch, n) for r in active]).to(train_x.device)
        for k in range(steps_per_epoch):
            step = epoch * steps_per_epoch + k
            if step in evaluate_at:
                evaluate(step)
            norms = stack.norms() if step in record_at else None
            index = order[:, k * batch_size : (k + 1) * batch_size]
            losses, share = stack.step(train_x[index], data.train_y[index], noise.gather(1, index))
            finite = losses.isfinite()
            for i, (run, value) in enumerate(zip(active, losses.tolist(), strict=True)):
                logs[run].see(step, value, share[i], norms, i)
            if not finite.all():
                for i in (~finite).nonzero().flatten().tolist():
                    stack.write_back(i, models[active[i]])  # type: ignore[arg-type]
                kept = finite.nonzero().flatten()
                active = [active[i] for i in kept.tolist()]
                if not active:
                    break
                stack.keep(kept)
                order, noise = order[kept], noise[kept]
            bar.update()
        if not active:
            break
    bar.close()
    if active:
        evaluate(total)
    for i, run in enumerate(active):
        stack.write_back(i, models[run])  # type: ignore[arg-type]
    return [log.history(steps_per_epoch) for log in logs]


@dataclass
class _Log:
    """A history in the making."""

    rows: list[tuple[float, ...]] = field(default_factory=list)
    norms: dict[str, list[float]] = field(default_factory=dict)
    evaluations: list[tuple[float, ...]] = field(default_factory=list)
    diverged_step: int | None = None
    last_finite_loss: float = float("nan")

    def see(
        self, step: int, loss: float, share: Tensor, norms: dict[str, Tensor] | None, i: int
    ) -> None:
        """Note a step; `norms` are given at the steps to record."""
        if not np.isfinite(loss):
            self.diverged_step = step
            return
        self.last_finite_loss = loss
        if norms is not None:
            self.rows.append((step, loss, float(share)))
            for name, values in norms.items():
                self.norms.setdefault(name, []).append(float(values[i]))

    def history(self, steps_per_epoch: int) -> History:
        """Return what was noted as arrays."""
        rows = np.array(self.rows, dtype=np.float64).reshape(-1, 3).T
        clean = np.array(self.evaluations, dtype=np.float64).reshape(-1, 5).T
        return History(
            steps_per_epoch,
            rows[0].astype(np.int64),
            *rows[1:].astype(np.float32),
            {name: np.array(v, dtype=np.float32) for name, v in self.norms.items()},
            clean[0].astype(np.int64),
            *clean[1:].astype(np.float32),
            self.diverged_step,
            self.last_finite_loss,
        )


def _order(seed: int, epoch: int, n: int) -> Tensor:
    """Return the order of the training samples in an epoch, (n,) int64."""
    return torch.randperm(n, generator=generator(seed, "batches", epoch))


def _noise(node: NoiseInjection | None, seed: int, epoch: int, n: int) -> Tensor:
    """Return eps of every training sample in an epoch, (n,) float32."""
    if node is None:
        return torch.zeros(n)
    return node.draw(n, generator(seed, "eps", 0 if node.fixed else epoch))


def hide_bar(progress: bool | None) -> bool | None:
    """Return tqdm's `disable`: None hides the bar where there is no terminal."""
    if progress is None:
        return True if os.environ.get("CI") else None
    return not progress


def _check(
    models: Sequence[nn.Module],
    data: Dataset,
    eta: float,
    batch_size: int,
    epochs: int,
    seeds: Sequence[int],
    precision: str,
) -> None:
    n = len(data.train_x)
    if not models:
        raise ValueError("no network to train")
    if not (np.isfinite(eta) and eta > 0):
        raise ValueError(f"eta must be finite and > 0, not {eta}")
    if not 1 <= batch_size <= n:
        raise ValueError(f"batch_size must be 1 to {n}, the size of the training set, not {batch_size}")
    if epochs < 1:
        raise ValueError(f"epochs must be >= 1, not {epochs}")
    if len(seeds) != len(models):
        raise ValueError(f"one seed per network: {len(models)} networks, {len(seeds)} seeds")
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {PRECISIONS}, not {precision!r}")
    if precision != "float32" and not all(type(m) is MLP for m in models):
        raise ValueError(f"precision={precision!r} is for nin.models.MLP only; use 'float32'")
    shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in models]
    if any(s != shapes[0] for s in shapes):
        raise ValueError("the networks differ in their parameters: train them one by one")
