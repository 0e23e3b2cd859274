"""The text table: what `print(t)` shows."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shapetrace.records import Diagnosis, Recording, TensorRef
from shapetrace.views import words
from shapetrace.views.marks import failure_of
from shapetrace.views.measures import LABELS, written
from shapetrace.views.rows import Row, Sheet, sheet
from shapetrace.views.sentences import honesty, summary, totals

#: more rows than that are no longer read
MOST_ROWS = 400
WIDEST = 100
NARROWEST = 40
#: deeper than that the tree is no longer indented, the level is written instead
DEEPEST_INDENT = 10
MOST_FINDINGS = 12

#: stands for a space at which a line is not broken
_UNBROKEN = "\0"

Tensors = Callable[[Row], Sequence[TensorRef] | None]


@dataclass(slots=True)
class Column:
    """`short` are the same cells in fewer characters; `soft` and `floor` are how
    short they may be cut, if they must be (0: never)."""

    title: str
    cells: list[str]
    right: bool = False
    short: list[str] | None = None
    soft: int = 0
    floor: int = 0

    @property
    def width(self) -> int:
        return max(map(len, [self.title, *self.cells]))


def table(
    rec: Recording,
    findings: Sequence[Diagnosis] = (),
    *,
    failure: Diagnosis | None = None,
    width: int | None = None,
) -> str:
    """One row per module call, alike neighbours folded, in at most `width` columns.

    Without `width` the terminal says it, up to 100. Narrow tables lose the less
    important columns, and say which.
    """
    if width is None:
        width = min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns)
    width = max(width, NARROWEST)
    failure = failure_of(findings, failure)
    made = sheet(rec, findings, failure, most=MOST_ROWS)
    columns, dropped = _columns(rec, made), []
    if columns:
        dropped = _fit(columns, width)
    parts = [_header(rec, made, failure, columns, width)]
    if columns:
        parts += [_draw(columns), _wrap(totals(rec, made), width)]
    remarks = honesty(made)
    if dropped:
        remarks.append(
            f"Columns left out at this width: {', '.join(dropped)};"
            f" t.to_dataframe() has all."
        )
    remarks += rec.notes
    if remarks:
        parts.append("\n".join(_wrap(remark, width, "  ") for remark in remarks))
    if made.findings:
        parts.append(_findings(made, failure, width))
    return "\n\n".join(parts)


def summary_line(
    rec: Recording,
    findings: Sequence[Diagnosis] = (),
    *,
    failure: Diagnosis | None = None,
) -> str:
    """`<Trace of Net: 12 module calls, 20 functions, 3.2 ms>`: one line, for repr."""
    return f"<Trace of {summary(rec, failure_of(findings, failure))}>"


def _wrap(text: str, width: int, indent: str = "") -> str:
    return textwrap.fill(
        words.one_line(text), width, subsequent_indent=indent, break_on_hyphens=False
    )


def _header(
    rec: Recording,
    made: Sheet,
    failure: Diagnosis | None,
    columns: dict[str, Column],
    width: int,
) -> str:
    """The summary, and what has no column of its own."""
    said = [summary(rec, failure)]
    if "dtype" not in columns:
        said.append(", ".join(made.dtypes()))
    if "device" not in columns:
        said.append(", ".join(made.devices()))
    if rec.torch_version:
        said.append(f"torch {rec.torch_version}")
    unbroken = [piece.replace(" ", _UNBROKEN) for piece in said[1:] if piece]
    return _wrap(" · ".join([said[0], *unbroken]), width).replace(_UNBROKEN, " ")


def _columns(rec: Recording, made: Sheet) -> dict[str, Column]:
    rows = made.rows
    if not rows:
        return {}
    labels, shorts = _tree(rows, short=False), _tree(rows, short=True)
    columns = {
        "module": Column("module", labels, short=shorts, soft=30, floor=12),
        "type": Column("type", [row.type for row in rows], soft=20, floor=9),
        "input": _shape_column("input", rows, _inputs),
        "output": _shape_column("output", rows, _outputs),
    }
    if len(made.dtypes()) > 1:
        cells = [words.dtypes(row.inputs, row.outputs) for row in rows]
        columns["dtype"] = Column("dtype", cells)
    if len(made.devices()) > 1:
        cells = [words.devices(row.inputs, row.outputs) for row in rows]
        columns["device"] = Column("device", cells)
    if rec.has_timing:
        columns.update(_times(made))
    for field in made.measures:
        cells = [
            written(field, row.measures[field]) if field in row.measures else ""
            for row in rows
        ]
        columns[LABELS[field]] = Column(LABELS[field], cells, right=True)
    if any(row.parameters for row in rows):
        columns["params"] = Column("params", [_params(row) for row in rows], right=True)
    if any(row.state for row in rows):
        cells = [row.state or "ok" if row.type else "" for row in rows]
        columns["status"] = Column("status", cells, soft=26, floor=15)
    return {key: column for key, column in columns.items() if any(column.cells)}


def _times(made: Sheet) -> dict[str, Column]:
    longest = max(row.total_ns for row in made.rows)
    digits = 3 if longest < 10_000_000 else 2 if longest < 10_000_000_000 else 0
    total = [words.milliseconds(row.total_ns, digits) for row in made.rows]
    own = [
        "" if row.kind == "more" else words.milliseconds(row.self_ns, digits)
        for row in made.rows
    ]
    share = [
        "" if row.kind == "function" else words.percent(row.total_ns, made.base_ns)
        for row in made.rows
    ]
    return {
        "total ms": Column("total ms", total, right=True),
        "self ms": Column("self ms", own, right=True),
        "share": Column("share", share, right=True),
    }


def _shape_column(title: str, rows: list[Row], tensors: Tensors) -> Column:
    """Short cells show one tensor; of a function all operands, which must fit."""
    cells = [words.shapes(tensors(row), 2) if row.type else "" for row in rows]
    short = [
        (
            words.shapes(tensors(row), 3 if row.kind == "function" else 1)
            if row.type
            else ""
        )
        for row in rows
    ]
    return Column(title, cells, short=short, soft=22, floor=9)


def _inputs(row: Row) -> Sequence[TensorRef] | None:
    return row.inputs


def _outputs(row: Row) -> Sequence[TensorRef] | None:
    return row.outputs


def _params(row: Row) -> str:
    if row.parameters is None:
        return ""
    return "(above)" if row.again else f"{row.parameters:,}"


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


def _fit(columns: dict[str, Column], width: int) -> list[str]:
    """Make the columns fit, the least painful first. Returns what was dropped."""
    dropped: list[str] = []

    def too_wide() -> int:
        used = sum(column.width for column in columns.values())
        return used + 2 * (len(columns) - 1) - width

    def drop(*keys: str) -> None:
        for key in keys:
            if too_wide() > 0 and key in columns:
                del columns[key]
                dropped.append(key)

    drop("self ms")
    for column in columns.values():
        if too_wide() > 0 and column.short:
            column.cells = column.short
    drop("share", "dtype")
    _shorten(columns, too_wide(), soft=True)
    drop("params")
    for key in ("device", "type", "total ms", "input", *reversed(LABELS.values())):
        # A column goes only where cutting the cells short does not do.
        if too_wide() > _slack(columns):
            drop(key)
    _shorten(columns, too_wide(), soft=False)
    return dropped


def _slack(columns: dict[str, Column]) -> int:
    return sum(max(0, c.width - c.floor) for c in columns.values() if c.floor)


def _shorten(columns: dict[str, Column], excess: int, *, soft: bool) -> None:
    """Cut the widest cells in the middle, one character after the other."""
    elastic = [column for column in columns.values() if column.floor]
    widths = {id(column): column.width for column in elastic}
    floors = {id(c): c.soft if soft else max(c.floor, len(c.title)) for c in elastic}
    while excess > 0:
        open_ = [key for key in widths if widths[key] > floors[key]]
        if not open_:
            break
        widths[max(open_, key=lambda key: widths[key])] -= 1
        excess -= 1
    for column in elastic:
        limit = widths[id(column)]
        column.cells = [shorten(cell, limit) for cell in column.cells]


def shorten(text: str, limit: int) -> str:
    """Cut out the middle: both ends of a name tell more than its beginning."""
    if len(text) <= limit:
        return text
    tail = (limit - 1) // 2
    return f"{text[: limit - 1 - tail]}…{text[len(text) - tail :]}"


def _draw(columns: dict[str, Column]) -> str:
    from tabulate import tabulate

    # With `headers=`, tabulate makes each column two wider than its title.
    drawn = tabulate(
        [
            [column.title for column in columns.values()],
            ["─" * column.width for column in columns.values()],
            *zip(*(column.cells for column in columns.values()), strict=True),
        ],
        tablefmt="plain",
        colalign=["right" if c.right else "left" for c in columns.values()],
        disable_numparse=True,
        preserve_whitespace=True,
    )
    return "\n".join(line.rstrip() for line in drawn.splitlines())


def _findings(made: Sheet, failure: Diagnosis | None, width: int) -> str:
    lines = []
    for finding in made.findings[:MOST_FINDINGS]:
        kind = "failed" if finding is failure else finding.severity
        name = "" if finding is failure else f" [{finding.code}]"
        lines.append(_wrap(f"{kind}{name} {words.headline(finding)}", width, "  "))
    left = len(made.findings) - MOST_FINDINGS
    if left > 0:
        lines.append(f"… and {words.plural(left, 'more finding')} in t.findings")
    hint = "t.explain() says why, and what to write instead."
    if failure is None:
        hint = "t.findings holds the explanations: print(t.findings[0])"
    return "\n".join([*lines, _wrap(hint, width)])
