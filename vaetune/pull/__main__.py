"""The command line: `python -m vaetune.pull`. Heavy imports wait until the command is understood."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from vaetune.errors import UserError

_EPILOG = """examples:
  python -m vaetune.pull regularizer_ablation --arm svae                 the champion, from MLflow
  python -m vaetune.pull s3://bucket/runs/regularizer_ablation/RUN       tables, report, each arm's best replicate
  python -m vaetune.pull s3://bucket/runs/regularizer_ablation --all     with every checkpoint, of the latest run

What is pulled lies below <to>/<study>/<RUN>/ as a study leaves it: vaetune.load and vaetune.tables take that folder.
What breaks off goes on with the same command.
"""


class _Parser(argparse.ArgumentParser):
    """argparse, whose own errors are `UserError`s."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 2 for what the user can mend, 130 when stopped."""
    try:
        arguments = _parser().parse_args(sys.argv[1:] if argv is None else argv)
        from vaetune.pull.fetch import fetch

        fetch(arguments.source, arguments.arm, arguments.all, arguments.to, arguments.storage, arguments.tracking_uri)
    except UserError as error:
        print(f"vaetune: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; what is whole is kept, and the same command goes on", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m vaetune.pull",
        description="Pull models, tables and reports to a folder.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("source", metavar="STUDY|RUN|FOLDER|s3://…", help="a name or run id in MLflow, or where a result lies")
    add("--arm", help="this arm's best replicate only, without tables and report")
    add("--all", action="store_true", help="every checkpoint, not only each arm's best replicate")
    add("--to", default="pulled", metavar="FOLDER", help="where to put it (default: pulled)")
    add("--storage", default="runs", metavar="ROOT", help="where results lie (default: runs); MLflow's database too")
    add("--tracking-uri", metavar="URI", help="MLflow (default: $MLFLOW_TRACKING_URI or the database in ROOT)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
