"""The command line: ``nin data | run | sweep | figures | claims | export`` (``python -m nin ...``).

What a command needs is imported when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nin.folders import CHECKOUT, DATA, DISTRIBUTION, RESULTS

if TYPE_CHECKING:
    from nin.studies.experiments import Experiment
    from nin.studies.run import RunRecord
    from nin.studies.study import Shelf

_SAYS = "Noise injection nodes: data, runs, figure pages and claims."
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
  python -m nin sweep --K 0.01 0.1 1 --seeds 0 1 2 --scheduler tcp://10.0.0.1:8786
"""
_FIGURES_EXAMPLES = """examples:
  python -m nin figures                                  every page whose code or records changed
  python -m nin figures fig3_phases_ce -p epochs 5 -p sigma_eps '[60, 120]'
  python -m nin figures fig3_phases_ce -f params/smoke_fig3_phases_ce.yml --output build/smoke
"""
_CLAIMS_EXAMPLES = """examples:
  python -m nin claims
  python -m nin claims CLAIM_ID
"""
_EXPORT_EXAMPLES = """examples:
  python -m nin export ~/companion-data
"""
_EXTRAS = {"book": ("matplotlib", "nbformat", "papermill", "yaml"), "cluster": ("distributed",)}
_VARIABLE: dict[str, tuple[type, str]] = {
    "loss": (str, "ce or mse"),
    "eta": (float, "learning rate"),
    "batch_size": (int, "samples per step"),
    "epochs": (int, "passes over the training images"),
    "depth": (int, "hidden layers"),
    "width": (int, "neurons of each"),
    "activation": (str, "relu, tanh, gelu, softplus, sigmoid, linear, relu_squared or square"),
    "layer": (str, "which layer the node is wired to: layers.0 is the first"),
    "fixed": (bool, "each image keeps its eps, in place of a new one each epoch"),
    "noise": (str, "law of eps: gaussian, uniform or rademacher"),
    "bias": (bool, "train biases"),
    "init": (str, "law of the initial weights: normal or truncated"),
    "niw_fan_in": (str, "fan-in of the noise weights: layer, node or width"),
    "mse_norm": (str, "squared error: mean, half_mean, half_sum or sum over the outputs"),
    "scaling": (str, "of the pixels: std, variance or pixel"),
    "split_seed": (int, "of the split into training and test images"),
    "precision": (str, "float32 or bf16"),
    "evaluations": (int, "per decade of steps, of the losses without noise"),
    "d_in": (int, "inputs per image: 784 pixels, or 196 or 49 means of blocks of them"),
    "d_out": (int, "classes, 2 to 10: the first so many of Fashion-MNIST's"),
}
"""The fields of an experiment that have an option of that name: their type, and what they are."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status.

    Args:
        arguments: Words after ``python -m nin``; default: those it was called with.
    """
    options = _parser().parse_args(arguments)
    try:
        status = options.command(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("\ninterrupted: finished runs are on record; say the same to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except BrokenExecutor:
        print(
            "error: a worker was killed, perhaps for want of memory (then try fewer --workers): "
            "finished runs are on record; say the same to go on",
            file=sys.stderr,
        )
        return 2
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        extra = next((e for e, names in _EXTRAS.items() if library in names), None)
        if extra is None:
            raise
        needs = f"pip install '{DISTRIBUTION}[{extra}]'"
        print(f"error: this needs {library}, which is not installed: {needs}", file=sys.stderr)
        return 2
    except _mistakes() as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return status or 0


def command() -> None:
    """Run the command line of this process, and exit."""
    sys.exit(main())


def _mistakes() -> tuple[type[Exception], ...]:
    """Return the errors that one line tells all about."""
    from nin.networks.data import DataError  # noqa: PLC0415
    from nin.studies.records import RecordError  # noqa: PLC0415

    dask = sys.modules.get("distributed")  # a unit that killed four workers in turn
    return ValueError, OSError, DataError, RecordError, *([dask.KilledWorker] if dask else [])


def _data(options: argparse.Namespace) -> None:
    from nin.networks.data import prepare  # noqa: PLC0415

    print(f"Fashion-MNIST is complete in {prepare(options.folder)}")


def _run(options: argparse.Namespace) -> None:
    from nin.studies.run import run_path, run_records  # noqa: PLC0415

    e = _experiment(options, options.seed, options.sigma_eps, options.K)
    shelf = _shelf(options)
    [record] = run_records([e], shelf)
    _report(record)
    print(f"record: {run_path(e, shelf.folder)}")


def _sweep(options: argparse.Namespace) -> None:
    from nin.studies.run import run_records  # noqa: PLC0415
    from nin.studies.study import independent  # noqa: PLC0415

    given = [(s, None) for s in options.sigma_eps or []] + [(None, k) for k in options.K or []]
    if not given:
        raise ValueError("name the noise strengths: --sigma-eps 20 60, or --K 0.1 1")
    seeds = independent(options.seeds)
    grid = [_experiment(options, seed, s, k) for s, k in given for seed in seeds]
    for record in run_records(grid, _shelf(options)):
        _report(record)


def _shelf(options: argparse.Namespace) -> Shelf:
    from nin.studies.away import cluster  # noqa: PLC0415
    from nin.studies.study import Shelf  # noqa: PLC0415

    return Shelf(
        options.results,
        "",
        recompute=options.recompute,
        executor=None if options.scheduler is None else cluster(options.scheduler),
        workers=getattr(options, "workers", None),
    )


def _figures(options: argparse.Namespace) -> None:
    from papermill.exceptions import PapermillExecutionError  # noqa: PLC0415

    from nin.companion import pages  # noqa: PLC0415
    from nin.studies.away import cluster  # noqa: PLC0415

    parameters: dict[str, object] = {}
    if options.file:
        try:
            text = options.file.read_text(encoding="utf8")
        except UnicodeDecodeError as error:
            raise ValueError(f"the file {options.file} is no text in UTF-8: {error}") from error
        parameters = _yaml(text, f"the file {options.file}") or {}
        if not isinstance(parameters, dict):
            raise ValueError(f"{options.file} must hold lines of the form NAME: VALUE")
    parameters |= {name: _yaml(value, f"-p {name}") for name, value in options.parameter}
    if options.scheduler is not None:
        cluster(options.scheduler)  # a page would find out late, and takes "" for none
        parameters["scheduler"] = options.scheduler
    known = {page.stem: page for page in sorted(pages.PAGES.glob("*.ipynb"))}
    if not known:
        where = "" if CHECKOUT else ": they come with the project's source, not with the package"
        raise ValueError(f"there are no pages in {pages.PAGES}{where}")
    if unknown := sorted(set(options.pages) - set(known)):
        raise ValueError(f"no page {', '.join(unknown)}; there are: {', '.join(known)}")
    for name in options.pages or known:
        if not (options.output or options.force) and pages.is_current(known[name], parameters):
            print(f"{name} is up to date")
            continue
        output = options.output / f"{name}.ipynb" if options.output else known[name]
        print(f"executing {name} ...", flush=True)
        try:
            pages.run_page(known[name], parameters, output)
        except PapermillExecutionError as error:
            raise ValueError(f"{name} failed: {error.ename}: {error.evalue}") from error
        print(f"{output} is done")


def _yaml(text: str, where: str) -> Any:
    import yaml  # noqa: PLC0415

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{where} is not YAML: {' '.join(str(error).split())}") from error


def _claims(options: argparse.Namespace) -> int:
    from nin.companion.claims.finding import Verdict  # noqa: PLC0415
    from nin.companion.claims.ledger import ledger  # noqa: PLC0415

    claims = ledger()
    if unknown := sorted(set(options.ids) - {c.id for c in claims}):
        raise ValueError(f"no claim {', '.join(unknown)}; there are: {[c.id for c in claims]}")
    asked = [c for c in claims if not options.ids or c.id in options.ids]
    for c in asked:
        print(f"{c}; page {c.page}")
    return 2 if any(c.finding.verdict == Verdict.NOT_COMPUTED for c in asked) else 0


def _export(options: argparse.Namespace) -> None:
    from nin.companion.claims.ledger import ledger  # noqa: PLC0415
    from nin.companion.export import export_records, export_verdicts  # noqa: PLC0415

    count, claims = export_records(options.folder, options.results), ledger()
    print(
        f"{count} records are in {options.folder / 'records'}; {len(claims)} verdicts come next, "
        "which takes minutes the first time",
        flush=True,
    )
    for done, c in enumerate(claims, 1):
        print(f"{done}/{len(claims)} {c.id}: {c.finding.verdict}", file=sys.stderr, flush=True)
    export_verdicts(options.folder, claims)
    print(f"records and verdicts are in {options.folder}")


def _experiment(
    options: argparse.Namespace, seed: int, sigma_eps: float | None, k: float | None
) -> Experiment:
    from dataclasses import replace  # noqa: PLC0415

    from nin.studies.experiments import experiment, strengths  # noqa: PLC0415

    changes = {name: getattr(options, name) for name in _VARIABLE if hasattr(options, name)}
    changed = replace(experiment(options.experiment), seed=seed, **changes)
    [e] = strengths(changed, [] if k is None else [k], [] if sigma_eps is None else [sigma_eps])
    return e


def _report(record: RunRecord) -> None:
    from nin.runs.phases import classify_phase  # noqa: PLC0415

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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=_called(), description=_SAYS)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    data = _command(commands, "data", "find or fetch Fashion-MNIST and verify it", _DATA_EXAMPLES)
    data.add_argument("--folder", help=f"where it lies or shall lie (default: $NIN_DATA or {DATA})")
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
    figures.add_argument("-f", "--file", type=_path, help="YAML file of parameters, as in params/")
    figures.add_argument(
        "--output", type=_path, help="folder for the executed pages (default: in place)"
    )
    _add_scheduler(figures)
    figures.add_argument("--force", action="store_true", help="execute even what is up to date")
    figures.set_defaults(command=_figures)

    claims = _command(
        commands, "claims", "compute the verdict on each claim of the paper", _CLAIMS_EXAMPLES
    )
    claims.add_argument("ids", nargs="*", help="claim ids (default: all)")
    claims.set_defaults(command=_claims)

    export = _command(
        commands, "export", "write all records and verdicts as JSON and CSV", _EXPORT_EXAMPLES
    )
    export.add_argument("folder", type=_path, help="where to; it is made if need be")
    export.add_argument("--results", type=_path, default=RESULTS, help="folder of the records")
    export.set_defaults(command=_export)
    return parser


def _called() -> str:
    return "nin" if Path(sys.argv[0]).stem == "nin" else "python -m nin"


def _path(text: str) -> Path:
    return Path(text).expanduser()  # a shell leaves the ~ of --output=~/pages alone


def _command(commands: Any, name: str, says: str, examples: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=says,
        description=says,
        epilog=examples.replace("python -m nin", _called()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_scheduler(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="train on the workers of this Dask scheduler"
    )


def _add_experiment(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--experiment", default="fig3", help="start from fig1, fig2 or fig3")
    parser.add_argument("--results", type=_path, default=RESULTS, help="folder of the records")
    parser.add_argument("--recompute", action="store_true", help="train even what is on record")
    _add_scheduler(parser)
    group = parser.add_argument_group("what to change in the experiment")
    for name, (kind, says) in _VARIABLE.items():
        how: dict[str, Any] = {"type": kind, "metavar": kind.__name__.upper()}
        if kind is bool:
            how = {"action": argparse.BooleanOptionalAction}
        group.add_argument(
            f"--{name.replace('_', '-')}", default=argparse.SUPPRESS, help=says, **how
        )


if __name__ == "__main__":
    command()
