"""What the command line may say, and which command it asks for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from shapetrace.cli import run, saved

_RUN = """\
Run a script as Python would, print what went through its layers, explain what failed
or looks wrong. The script need not know of shapetrace.

  shapetrace run train.py --epochs 1          everything; of a long run the first
                                              steps and the newest in full
  shapetrace run --steps 3 train.py           the first three training steps alone
  shapetrace run --from 100 --steps 1 -m package.train
  shapetrace run --csv report.csv train.py    the table as a file too
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command line and return its exit status.

    A script's own `SystemExit` is passed on. A command line that cannot be carried
    out ends in argparse's way: the reason on standard error, exit status 2.
    """
    options = _parser().parse_args(argv)
    status: int = options.command(options)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="shapetrace",
        description="See what goes through every layer of a PyTorch program.",
    )
    version = f"shapetrace {sys.modules['shapetrace'].__version__}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_run(commands)

    show = commands.add_parser("show", help="print a report that --json saved")
    _add_reports(show, "csv", "html")
    _add_table(show)
    show.add_argument("report", help="the JSON file")
    show.set_defaults(command=saved.show, parser=show)

    explain = commands.add_parser(
        "explain",
        help="explain what failed, or looks wrong, in a saved report; or a check",
    )
    explain.add_argument(
        "report", help="the JSON file, or a finding's code: silent-broadcast"
    )
    explain.set_defaults(command=saved.explain, parser=explain)

    compare = commands.add_parser(
        "compare",
        help="say what differs between two saved reports",
        description="Exit status 0: alike; 1: they differ; 2: not to be read.",
    )
    compare.add_argument("a", help="the JSON file of one run")
    compare.add_argument("b", help="the JSON file of the other")
    compare.set_defaults(command=saved.differ, parser=compare)
    return parser


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "run",
        help="run an unmodified script and print what went through its layers",
        usage="shapetrace run [options] (script.py | -m module) [its own arguments]",
        description=_RUN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # or else an `--n` of the script would be taken for one of ours cut short
        allow_abbrev=False,
    )
    add = parser.add_argument
    _add_reports(parser, "csv", "json", "html")
    _add_table(parser)
    add(
        "--steps",
        type=_positive,
        metavar="N",
        help="trace N training steps in full, then let the script go on untraced; "
        "a step ends with optimizer.step()",
    )
    add(
        "--from",
        dest="first",
        type=_positive,
        metavar="STEP",
        help="begin with this step, counted from 1",
    )
    add("--memory", action="store_true", help="keep account of activations' bytes")
    add("--backward", action="store_true", help="time the backward of each module")
    add(
        "--no-functions",
        dest="functions",
        action="store_false",
        help="record module calls only: faster, but what fails between them is not "
        "explained",
    )
    add(
        "--no-checks",
        dest="checks",
        action="store_false",
        help="do not look for what is legal and probably not meant",
    )
    add(
        "--try-fixes",
        action="store_true",
        help="run a copy of the script with each fix, up to the step that failed, and "
        "say what came of it; what the script writes, it writes again",
    )
    add(
        "-m",
        dest="module",
        nargs=argparse.REMAINDER,
        help="run a module, as `python -m` does",
    )
    add("program", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(command=run.run, parser=parser)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: steps are counted from 1")
    return number


def _levels(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text}: levels are counted from 0")
    return number


def _add_reports(parser: argparse.ArgumentParser, *formats: str) -> None:
    for name in formats:
        parser.add_argument(
            f"--{name}", metavar="FILE", help=f"write the report as {name.upper()}"
        )


def _add_table(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--depth",
        type=_levels,
        metavar="N",
        help="show N levels below the outermost modules; of a large model those that "
        "fit two screens",
    )
    parser.add_argument(
        "--columns",
        metavar="NAMES",
        help="the columns of the table, by commas: output,kernel,params,flops,memory",
    )
