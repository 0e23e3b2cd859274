"""The command: `shapetrace run script.py` and `shapetrace show report.json`.

The script runs as Python would run it: as `__main__`, with its own arguments, its
directory first on `sys.path`, its exit status, and a traceback that starts in it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from traceback import format_exception_only
from types import CodeType, ModuleType, TracebackType
from typing import NoReturn

from shapetrace.errors import ReportError
from shapetrace.source.printable import printable
from shapetrace.trace import Trace, load, trace

#: where our own frames come from
_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
#: the exit status for a command that cannot be carried out, as argparse has it
USAGE = 2
#: what a shell reports of a program that Ctrl-C ended
INTERRUPTED = 130


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
    commands = parser.add_subparsers(required=True, metavar="command")

    run = commands.add_parser(
        "run",
        help="run an unmodified script and print what went through its layers",
        usage="shapetrace run [options] script.py [the script's own arguments]",
        # or else an `--n` of the script would be taken for one of ours cut short
        allow_abbrev=False,
    )
    _add_reports(run, "csv", "json", "html")
    run.add_argument(
        "--no-functions",
        dest="functions",
        action="store_false",
        help="record module calls only: faster, but no explanation of a failure",
    )
    run.add_argument(
        "--no-checks",
        dest="checks",
        action="store_false",
        help="do not warn of what is legal and probably not meant",
    )
    run.add_argument("script", help="the Python file to run")
    rest = run.add_argument("args", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    rest.required = False  # said to be missing where only the script is
    run.set_defaults(command=_run, parser=run)

    show = commands.add_parser("show", help="print a report that --json saved")
    _add_reports(show, "csv", "html")
    show.add_argument("report", help="the JSON file")
    show.set_defaults(command=_show, parser=show)
    return parser


def _add_reports(parser: argparse.ArgumentParser, *formats: str) -> None:
    for name in formats:
        parser.add_argument(
            f"--{name}", metavar="FILE", help=f"write the report as {name.upper()}"
        )


# -- the commands ------------------------------------------------------------------


def _run(options: argparse.Namespace) -> int:
    code = _compile(options)
    reports = _reports(options, "csv", "json", "html")
    error: BaseException | None = None
    with _as_main(code.co_filename, [options.script, *options.args]) as module:
        try:
            with trace(functions=options.functions, checks=options.checks) as t:
                try:
                    exec(code, module.__dict__)
                except SystemExit as leaving:  # the script's way to end, no failure
                    error = leaving
        except BaseException as raised:  # whatever it is, the report comes first
            error = raised
        status = _report(t, reports)
        if t.failure is not None and (error is None or isinstance(error, SystemExit)):
            # The script caught the exception, and with it the explanation.
            _print(f"\n{t.failure}")
        if error is None:
            return status
        return _pass_on(error, code.co_filename)


def _show(options: argparse.Namespace) -> int:
    reports = _reports(options, "csv", "html")
    try:
        t = load(options.report)
    except ReportError as error:
        _refuse(options, printable(str(error)))
    status = _report(t, reports)
    if t.failure is not None:
        _print(f"\n{t.failure}")
    return status


def _report(t: Trace, reports: dict[str, str]) -> int:
    """Write the files, then print the table. A file that cannot be written after all
    costs neither the other files nor the table."""
    status = 0
    write = {"csv": t.to_csv, "json": t.to_json, "html": t.to_html}
    for name, path in reports.items():
        try:
            write[name](path)
        except OSError as error:
            print(f"shapetrace: {printable(str(error))}", file=sys.stderr)
            status = USAGE
        else:
            written = printable(os.path.relpath(path), keep="")
            print(f"shapetrace: wrote {written}", file=sys.stderr)
    _print(str(t))
    return status


def _print(text: str) -> None:
    try:
        print(printable(text), flush=True)
    except BrokenPipeError:
        # The reader has seen enough (`| head`). Python would complain once more when
        # it flushes at exit, so that the rest goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# -- running a script as Python does -----------------------------------------------


@contextmanager
def _as_main(path: str, argv: list[str]) -> Iterator[ModuleType]:
    """A fresh `__main__` for the file, and `sys` as Python sets it up for a script."""
    module = ModuleType("__main__")
    module.__file__ = path
    before = sys.modules["__main__"], sys.argv, sys.path[:]
    sys.modules["__main__"] = module
    sys.argv = argv
    if not sys.flags.safe_path:
        # In place of what Python put there for the shapetrace command itself.
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    try:
        yield module
    finally:
        sys.modules["__main__"], sys.argv, sys.path[:] = before


def _pass_on(error: BaseException, path: str) -> int:
    """Let the script's exception end the command as it would have ended the script."""
    if isinstance(error, SystemExit):
        raise error
    _clean(error, path, set())
    sys.excepthook(type(error), error, error.__traceback__)
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1


def _clean(error: BaseException | None, path: str, done: set[int]) -> None:
    """The tracebacks of an exception, and of those behind it, as they would have been
    without us: from the script's first frame on, and none of shapetrace's between."""
    if error is None or id(error) in done:
        return
    done.add(id(error))
    error.__traceback__ = _from(path, error.__traceback__)
    _clean(error.__cause__, path, done)
    _clean(error.__context__, path, done)


def _from(path: str, frames: TracebackType | None) -> TracebackType | None:
    entry = frames
    while entry is not None and entry.tb_frame.f_code.co_filename != path:
        entry = entry.tb_next
    kept = [
        one
        for one in _each(entry or frames)
        if not one.tb_frame.f_code.co_filename.startswith(_OURS)
    ]
    for one, following in zip(kept, [*kept[1:], None], strict=True):
        one.tb_next = following
    return kept[0] if kept else frames


def _each(frames: TracebackType | None) -> Iterator[TracebackType]:
    while frames is not None:
        yield frames
        frames = frames.tb_next


# -- what is refused before anything runs ------------------------------------------


def _compile(options: argparse.Namespace) -> CodeType:
    path = os.path.abspath(options.script)
    if not os.path.exists(path):
        _refuse(options, f"there is no file {options.script}")
    if not os.path.isfile(path):
        _refuse(options, f"{options.script} is no file: name the script to run")
    try:
        with open(path, "rb") as file:
            return compile(file.read(), path, "exec", dont_inherit=True)
    except OSError as error:
        _refuse(options, f"cannot read {options.script}: {error.strerror}")
    except (SyntaxError, ValueError) as error:  # ValueError: bytes that are no text
        reason = "".join(format_exception_only(error)).rstrip()
        _refuse(options, f"{options.script} is no Python program:\n{reason}")


def _reports(options: argparse.Namespace, *formats: str) -> dict[str, str]:
    """The report files that were asked for, as paths that outlive an `os.chdir`."""
    reports = {}
    for name in formats:
        given = getattr(options, name)
        if given is None:
            continue
        path = os.path.abspath(given)
        folder = os.path.dirname(path)
        if os.path.isdir(path):
            _refuse(options, f"--{name} {given}: that is a folder; name a file in it")
        if not os.path.isdir(folder):
            _refuse(options, f"--{name} {given}: make the folder {folder} first")
        if not os.access(path if os.path.exists(path) else folder, os.W_OK):
            _refuse(options, f"--{name} {given}: no permission to write there")
        if path == os.path.abspath(getattr(options, "script", "")):
            _refuse(options, f"--{name} {given}: that is the script itself")
        reports[name] = path
    return reports


def _refuse(options: argparse.Namespace, reason: str) -> NoReturn:
    parser: argparse.ArgumentParser = options.parser
    parser.error(reason)
