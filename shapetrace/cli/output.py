"""The files that a command writes, and the table and explanations that it prints."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from shapetrace.cli import torchrun
from shapetrace.cli.console import (
    INTERRUPTED,
    USAGE,
    refuse,
    say,
    show,
    show_report,
    waiting,
)
from shapetrace.cli.fix_trials import Tried
from shapetrace.cli.script_trace import ScriptTrace
from shapetrace.errors import UsageError
from shapetrace.records import Diagnosis
from shapetrace.records.printable import printable
from shapetrace.trace import Trace
from shapetrace.views import terminal, text
from shapetrace.views.columns import named
from shapetrace.views.terminal import has_colours, is_terminal
from shapetrace.views.words import plural


def paths(options: argparse.Namespace, *formats: str) -> dict[str, str]:
    """The report files that were asked for, as paths that outlive an `os.chdir`."""
    found = {}
    program = getattr(options, "program", None) or [""]
    for name in formats:
        given = getattr(options, name)
        if given is None:
            continue
        path = torchrun.path_of_rank(os.path.abspath(given))
        folder = os.path.dirname(path)
        if os.path.isdir(path):
            refuse(options, f"--{name} {given}: that is a folder; name a file in it")
        if not os.path.isdir(folder):
            refuse(options, f"--{name} {given}: make the folder {folder} first")
        if not os.access(path if os.path.exists(path) else folder, os.W_OK):
            refuse(options, f"--{name} {given}: no permission to write there")
        if path == os.path.abspath(program[0]):
            refuse(options, f"--{name} {given}: that is the script itself")
        found[name] = path
    return found


def write(t: Trace, files: dict[str, str]) -> int:
    """Write the files. One that cannot be written after all, or that somebody would not
    wait for, does not cost the others and the table, but the exit status."""
    status = 0
    writers = {"csv": t.to_csv, "json": t.to_json, "html": t.to_html}
    for name, path in files.items():
        shown = printable(_from_here(path), keep="")
        try:
            with waiting(f"writing {shown}"):
                writers[name](path)
        except OSError as error:
            say(str(error))
            status = USAGE
        except KeyboardInterrupt:
            say(f"interrupted: {shown} not written")
            status = INTERRUPTED
        else:
            say(f"wrote {shown}")
    return status


def _from_here(path: str) -> str:
    try:
        return os.path.relpath(path)
    except (OSError, ValueError):  # the working directory is gone, or on another drive
        return path


def so_far(t: ScriptTrace, files: dict[str, str], waits: str) -> None:
    """What was recorded of a script that does not end, and where it waits."""
    where = waits or "code that is not Python"
    say(f"rank {torchrun.rank()} waits in {where}: this is the report so far")
    write(t.so_far(waits), files)


def merge(path: str) -> None:
    """One JSON file of all ranks, where this is one of several."""
    try:
        torchrun.merge(path)
    except OSError as error:
        say(str(error))


def table(t: Trace, options: argparse.Namespace, title: str = "") -> None:
    """The table, with the columns and as deep as was asked for."""

    def made(width: int | None, colours: bool) -> str:
        drawn = text.table(
            t.recording,
            t.findings,
            failure=t.failure,
            width=width,
            depth=options.depth,
            columns=options.columns,
            costs=(lambda: t.costs) if options.columns else None,
            colours=colours,
            in_report=True,
        )
        return f"{title}{drawn}"

    show_report(made)


def check_columns(options: argparse.Namespace) -> None:
    """Refuse columns that there are not, before anything has run."""
    try:
        named(options.columns or (), "--columns")
    except UsageError as error:
        refuse(options, printable(str(error)))


def explain(findings: Iterable[Diagnosis]) -> None:
    """Every explanation in full; of what is merely remarkable one line."""
    findings = list(findings)
    for finding in findings:
        if finding.severity != "note":
            show("")
            show_report(partial(_explanation, finding))
    notes = [finding for finding in findings if finding.severity == "note"]
    if notes:
        show(f"\n{plural(len(notes), 'note')}:")
    for note in notes:
        place = f" [{note.source}]" if note.source is not None else ""
        show(f"  {note.code}: {note.message}{place}")


def fit(
    error: BaseException, failure: Diagnosis | None, tried: Iterable[Tried] = ()
) -> None:
    """The explanation that an exception bears, with what came of its fixes; as wide as
    the terminal on which its traceback will stand, and in colours there."""
    stream = sys.stderr
    notes = getattr(error, "__notes__", None)
    if failure is None or stream is None or not notes:
        return
    known = {one.fix: one.mended for one in tried}
    fixes = tuple(known.get(fix, fix) for fix in failure.fixes)
    told = replace(failure, fixes=fixes)
    width = shutil.get_terminal_size().columns if is_terminal(stream) else text.WIDTH
    fitted = terminal.explanation(told, width, colours=has_colours(stream))
    notes[:] = [note.replace(str(failure), fitted) for note in notes]


def _explanation(finding: Diagnosis, width: int | None, colours: bool) -> str:
    said = terminal.explanation(finding, width or text.WIDTH, colours=colours)
    return f"{finding.severity} [{finding.code}]\n{said}" if finding.page else said
