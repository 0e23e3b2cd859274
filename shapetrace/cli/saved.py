"""The commands that read a saved report: show it, explain it, compare two."""

from __future__ import annotations

import argparse
import os

from shapetrace.cli import output
from shapetrace.cli.console import refuse
from shapetrace.cli.console import show as print_text
from shapetrace.comparison import across_ranks, rank_file
from shapetrace.comparison.ranks import Rank
from shapetrace.errors import ReportError
from shapetrace.records.printable import printable
from shapetrace.trace import Trace, load
from shapetrace.views.pages import page
from shapetrace.views.words import plural


def show(options: argparse.Namespace) -> int:
    """Print the table and the explanations; write the files that are asked for."""
    output.check_columns(options)
    files = output.paths(options, "csv", "html")
    if rank_file.holds_ranks(options.report):
        return _show_ranks(options, files)
    t = _load(options, options.report)
    status = output.write(t, files)
    output.table(t, options)
    output.explain(t.findings)
    return status


def _show_ranks(options: argparse.Namespace, files: dict[str, str]) -> int:
    made = _ranks(options, options.report)
    if files:
        refuse(options, f"{options.report} holds several ranks: show one rank's report")
    print_text(str(made))
    return 0


def explain(options: argparse.Namespace) -> int:
    """Print the explanations alone; of a run in which all is well, that of its loss. Of
    a check, by its code, print the page."""
    about = None if os.path.exists(options.report) else page(options.report)
    if about is not None:
        print_text(about.rstrip())
        return 0
    if not os.path.exists(options.report):
        from shapetrace.checks import CHECKS

        codes = ", ".join(sorted(CHECKS))
        name = printable(options.report)
        refuse(options, f"there is no report {name}, and no such check of: {codes}")
    if rank_file.holds_ranks(options.report):
        for rank in _ranks(options, options.report).ranks:
            print_text(f"\nrank {rank.rank}: {_ended(rank)}")
            output.explain(rank.findings)
        return 0
    t = _load(options, options.report)
    if t.findings:
        output.explain(t.findings)
    else:
        print_text(f"\n{t.explain()}")
    return 0


def _ended(rank: Rank) -> str:
    if rank.recording is None:
        return rank.lost
    return plural(len(rank.findings), "finding") if rank.findings else "nothing found"


def differ(options: argparse.Namespace) -> int:
    """Print what differs between two reports."""
    from shapetrace.comparison import compare

    made = compare(_load(options, options.a), _load(options, options.b))
    print_text(str(made))
    return 0 if made.same else 1


def _ranks(options: argparse.Namespace, path: str) -> across_ranks.Ranks:
    try:
        return across_ranks.load(path)
    except ReportError as error:
        refuse(options, printable(str(error)))


def _load(options: argparse.Namespace, path: str) -> Trace:
    if not os.path.exists(path):
        refuse(options, f"there is no report {printable(path)}")
    if rank_file.holds_ranks(path):
        refuse(
            options,
            f"{printable(path)} holds several ranks: name the report of one, such as"
            f" {printable(rank_file.path_of(path, 0))}",
        )
    try:
        return load(path)
    except ReportError as error:
        refuse(options, printable(str(error)))
