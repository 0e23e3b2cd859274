"""The text table: what `print(t)` shows."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shapetrace.records import Diagnosis, Recording
from shapetrace.records.garbage import uncollected
from shapetrace.records.printable import printable
from shapetrace.views import terminal, words
from shapetrace.views.changes import changed
from shapetrace.views.marks import CULPRIT, failure_of
from shapetrace.views.rows import Row, Sheet, sheet
from shapetrace.views.sentences import (
    closing,
    every_row,
    honesty,
    summary,
    totals,
)
from shapetrace.views.whole_run import TITLES, WholeRun, whole_run

if TYPE_CHECKING:
    from shapetrace.costs import Costs

#: more rows than that are no longer read
MOST_ROWS = 400
#: a command's table fits two screens, where nobody has asked for more of it
MOST_OF_COMMAND = 50
#: where no terminal says one
WIDTH = 100
NARROWEST = 40
#: deeper than that the tree is no longer indented, the level is written instead
DEEPEST_INDENT = 10
MOST_FINDINGS = 12

#: stands for a space at which a line is not broken
_UNBROKEN = "\0"


@dataclass(slots=True)
class Cells:
    """A column as text. `short` are the same cells in fewer characters; see
    `Column` for the rest, `painted` the same cells in colours."""

    title: str
    cells: list[str]
    right: bool = False
    leaves: int = 0
    short: list[str] | None = None
    soft: int = 0
    floor: int = 0
    painted: list[str] | None = None

    def __post_init__(self) -> None:
        """A class's name, too, may be what a terminal acts on."""
        self.cells = [printable(cell, keep="") for cell in self.cells]
        if self.short is not None:
            self.short = [printable(cell, keep="") for cell in self.short]

    @property
    def width(self) -> int:
        return max(map(len, [self.title, *self.cells]))


@uncollected()
def table(
    rec: Recording,
    findings: Sequence[Diagnosis] = (),
    *,
    failure: Diagnosis | None = None,
    width: int | None = None,
    depth: int | None = None,
    columns: Collection[str] | None = None,
    sort: str | None = None,
    costs: Callable[[], Costs] | None = None,
    colours: bool = False,
    in_report: bool = False,
    name: str | None = "t",
) -> str:
    """One row per module call, alike neighbours folded, in at most `width` columns.

    Without `width` the terminal says it; 100 where there is none. Narrow tables lose
    the less important columns, and say which. With `colours` what failed is red, the
    culprit too, and dimensions that a call changed are bold. `in_report`: its reader
    has no trace to ask, and finds the explanations below. `name`: the variable in
    which its reader has the trace, if any.
    """
    if width is None:
        width = shutil.get_terminal_size((WIDTH, 24)).columns
    width = max(width, NARROWEST)
    failure = failure_of(findings, failure)
    made = sheet(
        rec,
        findings,
        failure,
        most=MOST_ROWS,
        readable=MOST_OF_COMMAND if in_report else None,
        depth=depth,
        columns=columns,
        sort=sort,
        costs=costs,
    )
    drawn, dropped = _cells(made), []
    if drawn:
        dropped = _fit(drawn, width)
    parts = [_header(rec, made, failure, drawn, width)]
    if drawn:
        if colours:
            _paint(drawn, made)
        parts.append(_draw(drawn))
        lines = [totals(rec, made)] if costs is None else closing(rec, made)
        parts.append("\n".join(_wrap(line, width, "  ") for line in lines))
    over_all = whole_run(rec)
    if over_all is not None:
        parts.append(_whole_run(over_all, width))
    all_of = every_row(name, in_report)
    remarks = honesty(made, all_of, "--depth" if in_report else "depth=")
    if dropped:
        names = ", ".join(dropped)
        remarks.append(f"Columns left out at this width: {names}; {all_of} has all.")
    remarks += rec.notes
    if remarks:
        parts.append("\n".join(_wrap(remark, width, "  ") for remark in remarks))
    if made.findings:
        # in a report each has its explanation below, but for a failure: the traceback
        listed = [f for f in made.findings if f is failure or not in_report]
        if listed:
            parts.append(_findings(listed, failure, width, None if in_report else name))
    return "\n\n".join(parts)


def summary_line(
    rec: Recording,
    findings: Sequence[Diagnosis] = (),
    *,
    failure: Diagnosis | None = None,
) -> str:
    """`<Trace of Net: 12 module calls, 20 functions, 3.2 ms>`: one line, for repr."""
    said = summary(rec, failure_of(findings, failure))
    return f"<Trace of {printable(said, keep='')}>"


def _wrap(text: str, width: int, indent: str = "") -> str:
    return _filled(printable(words.one_line(text), keep=""), width, indent)


def _filled(text: str, width: int, indent: str = "") -> str:
    return textwrap.fill(text, width, subsequent_indent=indent, break_on_hyphens=False)


def _header(
    rec: Recording,
    made: Sheet,
    failure: Diagnosis | None,
    drawn: list[Cells],
    width: int,
) -> str:
    """The summary, and what has no column of its own."""
    said = [summary(rec, failure)]
    titles = {column.title for column in drawn}
    if "dtype" not in titles:
        said.append(", ".join(made.context.dtypes))
    if "device" not in titles:
        said.append(", ".join(made.context.devices))
    if rec.torch_version:
        said.append(f"torch {rec.torch_version}")
    said = [printable(words.one_line(piece), keep="") for piece in said if piece]
    unbroken = [piece.replace(" ", _UNBROKEN) for piece in said[1:]]
    return _filled(" · ".join([said[0], *unbroken]), width).replace(_UNBROKEN, " ")


def _cells(made: Sheet) -> list[Cells]:
    rows = made.rows
    if not rows:
        return []
    labels, shorts = _tree(rows, short=False), _tree(rows, short=True)
    drawn = [Cells("module", labels, short=shorts, soft=30, floor=12)]
    groups = [row.group for row in rows]
    for column, values in made.columns.items():
        short = None
        if column.narrow is not None:
            short = column.cells(groups, values, narrow=True)
        drawn.append(
            Cells(
                column.title,
                column.cells(groups, values),
                right=column.right,
                leaves=column.leaves,
                short=short,
                soft=column.soft,
                floor=column.floor,
            )
        )
    return drawn


def _paint(drawn: list[Cells], made: Sheet) -> None:
    """Colours for names and shapes, as the marks and the calls have it."""
    rows, names = made.rows, drawn[0]
    names.painted = [
        terminal.painted(cell, _colour(row)) for row, cell in zip(rows, names.cells)
    ]
    for column in drawn:
        if column.title == "output":
            column.painted = [
                _with_changes(row, cell) for row, cell in zip(rows, column.cells)
            ]


def _colour(row: Row) -> str:
    remarks = {remark.word for remark in row.group.remarks}
    if CULPRIT in remarks:
        return terminal.CULPRIT
    if row.error is not None:
        return terminal.FAILED
    return terminal.REMARKED if remarks else ""


def _with_changes(row: Row, cell: str) -> str:
    """The shapes of a call's outputs, with the dimensions bold that the first input
    has not; as it is where it was cut short."""
    call = row.group.first
    if not call.inputs or not call.outputs:
        return cell
    before, written, plain = call.inputs[0].shape, [], []
    for ref in call.outputs:
        sizes = [str(size) for size in ref.shape]
        plain.append("×".join(sizes))
        for dim in changed(before, ref.shape):
            sizes[dim] = terminal.painted(sizes[dim], terminal.BOLD)
        written.append("×".join(sizes))
    return ", ".join(written) if ", ".join(plain) == cell else cell


def _tree(rows: list[Row], *, short: bool) -> list[str]:
    """The names, drawn as a tree."""
    last: dict[int | None, int] = {row.parent: at for at, row in enumerate(rows)}
    guides: list[str] = []
    cells: list[str] = []
    for at, row in enumerate(rows):
        label = row.short if short else row.label
        ends = last[row.parent] == at
        if row.parent is None:
            guides.append("")
            cells.append(label)
            continue
        guide = guides[row.parent]
        if row.depth > DEEPEST_INDENT:
            guides.append(guide)
            cells.append(f"{guide}└{row.depth}─{label}")
            continue
        guides.append(guide + ("  " if ends else "│ "))
        cells.append(f"{guide}{'└' if ends else '├'}─{label}")
    return cells


def _fit(columns: list[Cells], width: int) -> list[str]:
    """Make the columns fit, the least painful first. Returns what was dropped."""
    dropped: list[str] = []

    def too_wide() -> int:
        used = sum(column.width for column in columns)
        return used + 2 * (len(columns) - 1) - width

    def drop(least: int, most: int, slack: Callable[[], int] = lambda: 0) -> None:
        leaving = [one for one in columns if least <= one.leaves < most]
        for column in sorted(leaving, key=lambda one: one.leaves):
            if too_wide() > slack():
                columns.remove(column)
                dropped.append(column.title)

    drop(10, 20)
    for column in columns:
        if too_wide() > 0 and column.short:
            column.cells = column.short
    drop(20, 30)
    _shorten(columns, too_wide(), soft=True)
    drop(30, 40)
    # The others go only where cutting the cells short does not do.
    drop(40, 50, lambda: _slack(columns))
    _shorten(columns, too_wide(), soft=False)
    return dropped


def _slack(columns: list[Cells]) -> int:
    return sum(max(0, c.width - c.floor) for c in columns if c.floor)


def _shorten(columns: list[Cells], excess: int, *, soft: bool) -> None:
    """Cut the widest cells in the middle, down to the width of the next."""
    elastic = [column for column in columns if column.floor]
    widths = {id(column): column.width for column in elastic}
    floors = {id(c): c.soft if soft else max(c.floor, len(c.title)) for c in elastic}
    while excess > 0:
        open_ = [key for key in widths if widths[key] > floors[key]]
        if not open_:
            break
        widest = max(open_, key=lambda key: widths[key])
        others = (widths[key] for key in open_ if key != widest)
        least = max([floors[widest], *others])
        cut = min(excess, max(1, widths[widest] - least))
        widths[widest] -= cut
        excess -= cut
    for column in elastic:
        limit = widths[id(column)]
        column.cells = [shorten(cell, limit) for cell in column.cells]


def shorten(text: str, limit: int) -> str:
    """Cut out the middle: both ends of a name tell more than its beginning."""
    if len(text) <= limit:
        return text
    tail = (limit - 1) // 2
    return f"{text[: limit - 1 - tail]}…{text[len(text) - tail :]}"


def _draw(columns: list[Cells]) -> str:
    from tabulate import tabulate

    # With `headers=`, tabulate makes each column two wider than its title.
    drawn = tabulate(
        [
            [column.title for column in columns],
            ["─" * column.width for column in columns],
            *zip(*(column.painted or column.cells for column in columns), strict=True),
        ],
        tablefmt="plain",
        colalign=["right" if c.right else "left" for c in columns],
        disable_numparse=True,
        preserve_whitespace=True,
    )
    return "\n".join(line.rstrip() for line in drawn.splitlines())


def _whole_run(run: WholeRun, width: int) -> str:
    columns = [
        Cells(title, [row[at] for row in run.rows], right=at > 0, leaves=10 * (at > 1))
        for at, title in enumerate(TITLES)
    ]
    columns[0].floor = columns[0].soft = 12
    _fit(columns, width)
    lines = [_wrap(run.head, width, "  "), _draw(columns)]
    return "\n".join([*lines, run.rest] if run.rest else lines)


def _findings(
    findings: Sequence[Diagnosis],
    failure: Diagnosis | None,
    width: int,
    trace: str | None,
) -> str:
    lines = []
    for finding in findings[:MOST_FINDINGS]:
        kind = "failed" if finding is failure else finding.severity
        name = "" if finding is failure else f" [{finding.code}]"
        lines.append(_wrap(f"{kind}{name} {words.headline(finding)}", width, "  "))
    left = len(findings) - MOST_FINDINGS
    if left > 0:
        more = f"… and {words.plural(left, 'more finding')}"
        lines.append(more if trace is None else f"{more} in {trace}.findings")
    if trace is not None:  # a report prints the explanations themselves
        hint = f"{trace}.findings holds the explanations: print({trace}.findings[0])"
        if failure is not None:
            hint = f"{trace}.explain() says why, and what to write instead."
        lines.append(_wrap(hint, width))
    return "\n".join(lines)
