"""The command line: ``python -m nin data | run | sweep | figures | claims``."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

import yaml

from nin.networks.data import DataError, prepare
from nin.runs.phases import classify_phase
from nin.studies.experiment import EXPERIMENTS, Experiment, experiment, strengths
from nin.studies.records import RESULTS, RecordError
from nin.studies.run import RunRecord, run_or_load, run_path

_DATA_EXAMPLES = """examples:
  python -m nin data
  python -m nin data --folder ~/fashion-mnist
"""
_RUN_EXAMPLES = """examples:
  python -m nin run --experiment fig3 --sigma-eps 60 --epochs 5
  python -m nin run --experiment fig2 --K 30 --seed 1 --width 512 --activation tanh
"""
_SWEEP_EXAMPLES = """examples:
  python -m nin sweep --experiment fig3 --K 0.01 0.1 1 --seeds 0 1 2 --epochs 10
"""
_FIGURES_EXAMPLES = """examples:
  python -m nin figures                                  every page whose code or records changed
  python -m nin figures fig3_phases_ce -p epochs 5 -p sigma_eps '[60, 120]'
  python -m nin figures fig3_phases_ce -f params/smoke.yml --output build/smoke
"""
_CLAIMS_EXAMPLES = """examples:
  python -m nin claims
  python -m nin claims CLAIM_ID
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status.

    Args:
        arguments: Words after ``python -m nin``; default: those it was called with.
    """
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except BrokenExecutor:
        print(
            "error: a worker was killed, perhaps for want of memory (then try fewer --workers): "
            "finished runs are on record; say the same to go on",
            file=sys.stderr,
        )
        return 2
    except (ValueError, DataError, RecordError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted: finished runs are on record; say the same to go on", file=sys.stderr)
        return 130
    return 0


def _data(options: argparse.Namespace) -> None:
    print(f"Fashion-MNIST is complete in {prepare(options.folder)}")


def _run(options: argparse.Namespace) -> None:
    e = _experiment(options, options.seed, options.sigma_eps, options.K)
    [record] = run_or_load([e], recompute=options.recompute, folder=options.results)
    _report(record)
    print(f"record: {run_path(e, Path(options.results))}")


def _sweep(options: argparse.Namespace) -> None:
    given = [(s, None) for s in options.sigma_eps or []] + [(None, k) for k in options.K or []]
    if not given:
        raise ValueError("name the noise strengths: --sigma-eps 20 60, or --K 0.1 1")
    grid = [_experiment(options, seed, s, k) for s, k in given for seed in options.seeds]
    for record in run_or_load(
        grid, recompute=options.recompute, folder=options.results, workers=options.workers
    ):
        _report(record)


def _figures(options: argparse.Namespace) -> None:
    from papermill.exceptions import PapermillExecutionError  # noqa: PLC0415

    from nin.companion.pages import PAGES, is_current, run_page  # noqa: PLC0415

    parameters: dict[str, object] = {}
    if options.file:
        text = Path(options.file).read_text(encoding="utf8")
        parameters = _yaml(text, f"the file {options.file}") or {}
        if not isinstance(parameters, dict):
            raise ValueError(f"{options.file} must hold lines of the form NAME: VALUE")
    parameters |= {name: _yaml(value, f"-p {name}") for name, value in options.parameter}
    known = {page.stem: page for page in sorted(PAGES.glob("*.ipynb"))}
    if unknown := sorted(set(options.pages) - set(known)):
        raise ValueError(f"no page {', '.join(unknown)}; there are: {', '.join(known)}")
    for name in options.pages or known:
        if not (options.output or options.force) and is_current(known[name], parameters):
            print(f"{name} is up to date")
            continue
        output = Path(options.output) / f"{name}.ipynb" if options.output else known[name]
        print(f"executing {name} ...", flush=True)
        try:
            run_page(known[name], parameters, output)
        except PapermillExecutionError as error:
            raise ValueError(f"{name} failed: {error.ename}: {error.evalue}") from error
        print(f"{output} is done")


def _yaml(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{where} is not YAML: {' '.join(str(error).split())}") from error


def _claims(options: argparse.Namespace) -> None:
    from nin.companion.claims.ledger import ledger  # noqa: PLC0415

    claims = ledger()
    if unknown := sorted(set(options.ids) - {c.id for c in claims}):
        raise ValueError(f"no claim {', '.join(unknown)}; there are: {[c.id for c in claims]}")
    for c in claims:
        if not options.ids or c.id in options.ids:
            print(f"{c}; page {c.page}")


def _experiment(
    options: argparse.Namespace, seed: int, sigma_eps: float | None, k: float | None
) -> Experiment:
    changes = {name: getattr(options, name) for name in _variable() if hasattr(options, name)}
    base = experiment(options.experiment)
    changed = dataclasses.replace(base, seed=seed, **changes)
    [e] = strengths(changed, [] if k is None else [k], [] if sigma_eps is None else [sigma_eps])
    return e


def _report(record: RunRecord) -> None:
    e, h = record.experiment, record.history
    found = classify_phase(h)
    print(f"sigma_eps = {e.sigma_eps:.4g} (K = {e.K:.4g}), seed {e.seed}: {found.phase}")
    print(f"    {found.evidence}")
    if len(h.eval_step):
        print(
            f"    after {h.eval_epoch[-1]:.4g} epochs, eps = 0: training loss "
            f"{h.train_loss[-1]:.4g}, test loss {h.val_loss[-1]:.4g}, "
            f"test accuracy {h.val_accuracy[-1]:.4f}; {record.made['seconds']} s"
        )


def _variable() -> dict[str, type]:
    """Return name and type of the fields of an experiment that have an option of that name."""
    fixed = {"sigma_eps", "seed"}
    return {f.name: type(f.default) for f in dataclasses.fields(Experiment) if f.name not in fixed}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m nin", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    data = _command(commands, "data", "find or fetch Fashion-MNIST and verify it", _DATA_EXAMPLES)
    data.add_argument(
        "--folder", help="where it lies or shall lie (default: $NIN_DATA, then data/)"
    )
    data.set_defaults(command=_data)

    run = _command(commands, "run", "train one configuration and name its phase", _RUN_EXAMPLES)
    noise = run.add_mutually_exclusive_group(required=True)
    noise.add_argument("--sigma-eps", type=float, help="standard deviation of the noise")
    noise.add_argument("--K", type=float, help="its variance in Table 1's unit")
    run.add_argument("--seed", type=int, default=0)
    _add_experiment(run)
    run.set_defaults(command=_run)

    sweep = _command(commands, "sweep", "train many noise strengths and seeds", _SWEEP_EXAMPLES)
    sweep.add_argument("--sigma-eps", type=float, nargs="+", help="standard deviations")
    sweep.add_argument("--K", type=float, nargs="+", help="variances in Table 1's unit")
    sweep.add_argument("--seeds", type=int, nargs="+", default=[0])
    sweep.add_argument("--workers", type=int, help="processes at once (default: one per core)")
    _add_experiment(sweep)
    sweep.set_defaults(command=_sweep)

    figures = _command(
        commands, "figures", "execute the heavy pages by papermill", _FIGURES_EXAMPLES
    )
    figures.add_argument("pages", nargs="*", help="page names (default: all)")
    figures.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE")
    )
    figures.add_argument("-f", "--file", help="YAML file of parameters, as in params/")
    figures.add_argument("--output", help="folder for the executed pages (default: in place)")
    figures.add_argument("--force", action="store_true", help="execute even what is up to date")
    figures.set_defaults(command=_figures)

    claims = _command(
        commands, "claims", "compute the verdict on each claim of the paper", _CLAIMS_EXAMPLES
    )
    claims.add_argument("ids", nargs="*", help="claim ids (default: all)")
    claims.set_defaults(command=_claims)
    return parser


def _command(commands: Any, name: str, says: str, examples: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=says,
        description=says,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_experiment(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--experiment", default="fig3", help=f"start from {sorted(EXPERIMENTS)}")
    parser.add_argument("--results", default=str(RESULTS), help="folder of the records")
    parser.add_argument("--recompute", action="store_true", help="train even what is on record")
    group = parser.add_argument_group("what to change in the experiment")
    for name, kind in _variable().items():
        option = f"--{name.replace('_', '-')}"
        if kind is bool:
            action = argparse.BooleanOptionalAction
            group.add_argument(option, action=action, default=argparse.SUPPRESS)
        else:
            group.add_argument(option, type=kind, default=argparse.SUPPRESS)


if __name__ == "__main__":
    sys.exit(main())
