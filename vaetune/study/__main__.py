"""The command line: `python -m vaetune.study NAME`. Heavy imports wait until the study has passed its checks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from vaetune.errors import UserError, unknown
from vaetune.study import Study
from vaetune.study.blame import shown
from vaetune.study.load import Loaded, available, load
from vaetune.study.options import BATTERIES, PHASES, Options, tracking_uri
from vaetune.study.plan import check, costs, disk, extension, render_estimate, render_plan
from vaetune.study.settings import apply
from vaetune.study.tabulate import show

_EPILOG = """examples:
  vaetune list                                         the studies that are found from here
  vaetune regularizer_ablation --plan                  check it, and say what it will cost
  vaetune regularizer_ablation --preset quick          run it
  vaetune my/own_study.py --set arms=plain,svae --set budget.trials=8
  vaetune regularizer_ablation --resume RUN --phase report
  vaetune regularizer_ablation --extend RUN --set replication.extra_epochs=20
"""


class _Parser(argparse.ArgumentParser):
    """argparse, whose own errors are `UserError`s."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 2 for what the user can mend, or the runner's."""
    try:
        return _main(sys.argv[1:] if argv is None else argv)
    except UserError as error:
        print(f"vaetune: {error}", file=sys.stderr)
        return 2


def _main(argv: Sequence[str]) -> int:
    arguments = _arguments(argv)
    if arguments.target == "list":
        return _list()
    loaded = load(arguments.target)
    assignments = [*arguments.set, *([f"dataset.name={arguments.dataset}"] if arguments.dataset is not None else [])]
    study, notes = apply(loaded.preset(arguments.preset), assignments)
    for note in notes:
        print(f"vaetune: note: {note}", file=sys.stderr)
    check(study)
    if arguments.submit and not arguments.plan:
        return _submit(arguments, argv, loaded.path)
    options = Options(
        preset=arguments.preset,
        storage=arguments.storage,
        tracking_uri=tracking_uri(arguments.tracking_uri, arguments.storage),
        address=arguments.address,
        resume=arguments.resume,
        extend=arguments.extend,
        phase=arguments.phase,
        seed=arguments.seed,
        reproducible=arguments.reproducible,
        tensorboard=arguments.tensorboard,
        data_root=arguments.data_root,
        download=arguments.download,
        battery=arguments.battery,
    )
    if arguments.plan:
        return _plan(loaded, study, options)
    from vaetune.study.runner import run

    return run(loaded, study, options)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = _parser()
    arguments, extra = parser.parse_known_args(argv)
    flags = [text.partition("=")[0] for text in extra if text.startswith("-")]
    if flags:  # before anything else: the value of a misspelt flag looks like a study
        raise unknown("option", flags[0], [o for action in parser._actions for o in action.option_strings])
    if extra:
        raise UserError(f"unexpected argument {extra[0]!r}: one study at a time (see --help)")
    if arguments.target is None:
        raise UserError("which study? give its name or a .py file; `list` shows those found from here (see --help)")
    if arguments.phase is not None and arguments.phase not in PHASES:
        raise unknown("phase", arguments.phase, PHASES)
    if arguments.battery not in BATTERIES:
        raise unknown("battery", arguments.battery, BATTERIES)
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="vaetune",
        description="Run a study: equal budgets for all arms, winners measured again on fresh seeds, one report.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("target", nargs="?", metavar="NAME|FILE.py|list", help="a study in studies/, a file, or `list`")
    add("--preset", default="default", help="one of the file's presets (default: default)")
    add("--dataset", metavar="NAME", help="short for --set dataset.name=NAME")
    add("--set", action="append", default=[], metavar="PATH=VALUE", help="change a setting; arms=a,b keeps those arms")
    add("--plan", action="store_true", help="check the study, say what it costs, start nothing")
    add("--storage", default="runs", metavar="ROOT", help="a folder or s3://bucket/prefix (default: runs)")
    add(
        "--tracking-uri",
        metavar="URI",
        help="MLflow server; none: no tracking (default: $MLFLOW_TRACKING_URI or SQLite)",
    )
    add("--address", help="a Ray cluster's address; auto: this machine's (default: start Ray here)")
    add("--submit", metavar="URL", help="run it as a job of the cluster with this dashboard (http://127.0.0.1:8265)")
    add("--resume", metavar="RUN", help="go on with an earlier execution")
    add(
        "--extend",
        metavar="RUN",
        help="train a finished execution's replicates on, in a new one; with --set replication.extra_epochs=N",
    )
    add("--phase", metavar="PHASE", help=f"run one phase only: {', '.join(PHASES)}")
    add("--seed", type=int, default=0, help="root of all random numbers (default: 0)")
    add("--reproducible", action="store_true", help="the same numbers twice on one kind of CPU; slower search")
    add("--tensorboard", action="store_true", help="write TensorBoard event files too")
    add("--data-root", metavar="DIR", help="where datasets lie")
    add("--download", action="store_true", help="fetch a dataset that is missing")
    add(
        "--battery",
        default="default",
        metavar="PART",
        help="full: outliers, attacks (needs vaetune[attacks]) and memorised labels too",
    )
    return parser


def _submit(arguments: argparse.Namespace, argv: Sequence[str], study: Path) -> int:
    if arguments.address:
        raise UserError("--submit and --address: give one; the job itself connects to its cluster")
    if not arguments.submit.startswith(("http://", "https://")):
        raise UserError(f"--submit {arguments.submit}: give a Ray dashboard's address, such as http://127.0.0.1:8265")
    from vaetune.study import cluster
    from vaetune.study.submit import submit

    cluster.prepare(arguments.submit)
    rest, words = [], iter(argv)
    for word in words:
        if word == "--submit":
            next(words)
        elif word != arguments.target and not word.startswith("--submit="):
            rest.append(word)
    return submit(arguments.submit, rest, study, arguments.storage)


def _list() -> int:
    studies = available()
    if not studies:
        raise UserError("no studies: there is no folder studies/ with Python files here or further up")
    rows = [[s.name, ", ".join(s.presets), str(s.arms or ""), s.hypothesis or s.error, shown(s.path)] for s in studies]
    show("Studies", ["study", "presets", "arms", "hypothesis", "file"], rows, numeric=["arms"])
    return 0


def _plan(loaded: Loaded, study: Study, options: Options) -> int:
    """The plan at once, then the estimate: it needs torch, the data, and some seconds of measuring."""
    table = costs(study)
    if not options.extend:
        render_plan(study, table)
    from vaetune.datasets import open_dataset
    from vaetune.datasets.splits import trained
    from vaetune.study.estimate import parameters, seconds_per_epoch

    data = open_dataset(study.dataset.name, Path(options.data_root) if options.data_root else None, options.download)
    if options.extend:
        from vaetune.study import extend
        from vaetune.study.runner import dataset_info

        table = extension(table, extend.check(loaded, study, options, dataset_info(study, data)))
        render_plan(study, table)
    wanted, pool = study.dataset, data.development()
    n_train = trained(len(pool), wanted.n_validation, wanted.n_train, pool.groups)
    seconds = {arm.name: seconds_per_epoch(study, arm, data, n_train) for arm in study.arms}
    render_estimate(study, table, seconds, {arm.name: disk(study, arm, parameters(data)) for arm in study.arms})
    return 0


if __name__ == "__main__":
    sys.exit(main())
