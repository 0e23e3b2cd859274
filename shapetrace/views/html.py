"""The HTML table: a page of its own, or a fragment for a notebook. No script."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

from shapetrace.records import Diagnosis, Recording, TensorRef
from shapetrace.views import words
from shapetrace.views.marks import failure_of
from shapetrace.views.measures import LABELS, written
from shapetrace.views.rows import Row, Sheet, sheet
from shapetrace.views.sentences import honesty, summary, title, totals
from shapetrace.views.stylesheet import PAGE_STYLE, STYLE

MOST_ROWS = 1500
MOST_FINDINGS = 50
#: a table of no more rows than that is shown unfolded at first
OPEN_ROWS = 80
#: browsers give up on elements nested deeper than some hundreds
DEEPEST_NESTING = 60
DEEPEST_INDENT = 12
#: the usual width of a character, and the gap between columns (see stylesheet)
EM = 0.65
GAP = 1.2

Cell = Callable[[Row], str]


@dataclass(frozen=True, slots=True)
class Column:
    """`width` in characters is the least; `share` divides the room that is left."""

    title: str
    width: int
    write: Cell
    share: int = 1
    look: str = ""


def page(
    rec: Recording,
    findings: Sequence[Diagnosis] = (),
    *,
    failure: Diagnosis | None = None,
) -> str:
    """A whole document that needs nothing from the network."""
    body = fragment(rec, findings, failure=failure)
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title(rec))}: shapetrace</title>\n"
        f"<style>{PAGE_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def fragment(
    rec: Recording,
    findings: Sequence[Diagnosis] = (),
    *,
    failure: Diagnosis | None = None,
) -> str:
    """The table with its own style, which touches nothing around it."""
    failure = failure_of(findings, failure)
    made = sheet(rec, findings, failure, most=MOST_ROWS)
    parts = [f'<div class="shapetrace">\n<style>{STYLE}</style>']
    said = f"<b>{escape(summary(rec, failure))}</b>{_context(rec, made)}"
    parts.append(f'<p class="st-summary">{said}</p>')
    for finding in made.findings[:MOST_FINDINGS]:
        parts.append(_finding(finding, failed=finding is failure))
    left = len(made.findings) - MOST_FINDINGS
    if left > 0:
        parts.append(f"<p>… and {words.plural(left, 'more finding')} in t.findings</p>")
    if made.rows:
        parts.append(_table(rec, made))
        parts.append(f'<p class="st-totals">{escape(totals(rec, made))}</p>')
    remarks = [*honesty(made), *rec.notes]
    if remarks:
        items = "".join(f"<li>{escape(remark)}</li>" for remark in remarks)
        parts.append(f'<ul class="st-remarks">{items}</ul>')
    parts.append("</div>")
    # A message may hold half a character, which no file can.
    return "\n".join(parts).encode("utf-8", "backslashreplace").decode("utf-8")


def _context(rec: Recording, made: Sheet) -> str:
    """What is the same for every row and so has no column."""
    said = []
    if len(made.dtypes()) == 1:
        said += made.dtypes()
    if len(made.devices()) == 1:
        said += made.devices()
    if rec.torch_version:
        said.append(f"torch {rec.torch_version}")
    return "".join(f" · {escape(piece)}" for piece in said)


def _finding(finding: Diagnosis, *, failed: bool) -> str:
    name = "failed" if failed else f"{finding.severity}: {finding.code}"
    return (
        f'<details class="st-finding st-{escape(finding.severity)}"'
        f'{" open" if failed else ""}>'
        f"<summary><b>{escape(name)}</b> {escape(words.headline(finding))}</summary>"
        f"<pre>{escape(str(finding))}</pre></details>"
    )


def _table(rec: Recording, made: Sheet) -> str:
    columns = _columns(rec, made)
    # In em: a bold row's `ch` is wider, and its columns would not meet the others'.
    tracks = " ".join(f"minmax({c.width * EM:.1f}em,{c.share}fr)" for c in columns)
    least = sum(column.width * EM + GAP for column in columns)
    head = "".join(
        f'<span role="columnheader"{column.look}>{escape(column.title)}</span>'
        for column in columns
    )
    lines = [
        '<div class="st-scroll">',
        f'<div class="st-table" role="table"'
        f' style="--st-columns:{tracks};min-width:{least:.1f}em">',
        f'<div class="st-row st-head" role="row">{head}</div>',
    ]
    parents = {row.parent for row in made.rows}
    opened = _opened(made)
    ends: list[int] = []
    for at, row in enumerate(made.rows):
        while ends and ends[-1] >= row.depth:
            ends.pop()
            lines.append("</details>")
        cells = "".join(
            f'<span role="cell"{column.look}>{column.write(row)}</span>'
            for column in columns
        )
        kind = f"st-row st-{row.kind}" + _mood(row)
        if at in parents and row.depth < DEEPEST_NESTING:
            lines.append(f"<details{' open' if at in opened else ''}>")
            lines.append(f'<summary class="{kind}" role="row">{cells}</summary>')
            ends.append(row.depth)
        else:
            lines.append(f'<div class="{kind}" role="row">{cells}</div>')
    lines += ["</details>"] * len(ends)
    lines += ["</div>", "</div>"]
    return "\n".join(lines)


def _mood(row: Row) -> str:
    """What colours a row: the failure itself, not all that encloses it."""
    if row.status == "failed" and not row.inside:
        return " st-failed"
    if any(remark.startswith("culprit") for remark in row.remarks):
        return " st-culprit"
    if row.remarks:
        return " st-warned"
    return " st-recomputed" if row.status == "recomputed" else ""


def _opened(made: Sheet) -> set[int]:
    """Rows whose subtree is shown at first: all of few, else the way to the marks."""
    if len(made.rows) <= OPEN_ROWS:
        return set(range(len(made.rows)))
    opened = {at for at, row in enumerate(made.rows) if row.depth == 0}
    for row in made.rows:
        above = row.parent if row.state else None
        while above is not None and above not in opened:
            opened.add(above)
            above = made.rows[above].parent
    return opened


def _columns(rec: Recording, made: Sheet) -> list[Column]:
    rows = made.rows
    names = max(len(row.label) + 2 * min(row.depth, DEEPEST_INDENT) for row in rows)
    kinds = max(len(row.type) for row in rows)
    came = max(len(words.shapes(row.inputs, 2)) for row in rows)
    left = max(len(words.shapes(row.outputs, 2)) for row in rows)
    columns = [
        Column("module", min(names, 44) + 4, _name, 2),
        Column("type", min(kinds, 24) + 1, lambda row: escape(row.type)),
        Column("input", min(came, 26) + 1, lambda row: _shapes(row, row.inputs)),
        Column("output", min(left, 26) + 1, lambda row: _shapes(row, row.outputs)),
    ]
    if len(made.dtypes()) > 1:
        columns.append(Column("dtype", 9, _dtypes))
    if len(made.devices()) > 1:
        columns.append(Column("device", 12, _devices))
    if rec.has_timing:
        columns += [
            Column("time", 12, lambda row: _bar(row, made.base_ns), 2),
            _numbers("total ms", lambda row: words.milliseconds(row.total_ns, 3)),
            _numbers("self ms", _own_time),
            _numbers("share", lambda row: _share(row, made.base_ns)),
        ]
    columns += [
        _numbers(LABELS[field], functools.partial(_measure, field))
        for field in made.measures
    ]
    if any(row.parameters for row in rows):
        columns.append(_numbers("params", _params))
    if any(row.state for row in rows):
        states = max(len(row.state) for row in rows)
        columns.append(Column("status", min(states, 30) + 1, _state))
    return columns


def _numbers(title: str, write: Cell) -> Column:
    return Column(title, 8, write, look=' class="st-number"')


def _measure(field: str, row: Row) -> str:
    return written(field, row.measures[field]) if field in row.measures else ""


def _name(row: Row) -> str:
    indent = min(row.depth, DEEPEST_INDENT)
    level = f"<small>{row.depth}</small> " if row.depth > indent else ""
    full = ", ".join(name or "(root)" for name in row.names[:3])
    if len(row.names) > 3:
        full += f" and {len(row.names) - 3} more"
    if row.source is not None:
        full += f" · called at {row.source}"
    return (
        f'<span class="st-name" style="--st-depth:{indent}"'
        f' title="{escape(full)}">{level}{escape(row.label)}</span>'
    )


def _shapes(row: Row, tensors: Sequence[TensorRef] | None) -> str:
    if not row.type:
        return ""
    return f'<span title="{escape(_every(tensors))}">{words.shapes(tensors, 2)}</span>'


def _every(tensors: Iterable[TensorRef] | None) -> str:
    """All tensors of a call, for the tooltip."""
    if tensors is None:
        return "raised"
    return "\n".join(
        f"{tensor.path}: {words.shape(tensor.shape)} {words.dtype(tensor.dtype)}"
        f" {tensor.device}"
        for tensor in tensors
    )


def _dtypes(row: Row) -> str:
    return escape(words.dtypes(row.inputs, row.outputs))


def _devices(row: Row) -> str:
    return escape(words.devices(row.inputs, row.outputs))


def _own_time(row: Row) -> str:
    return "" if row.kind == "more" else words.milliseconds(row.self_ns, 3)


def _share(row: Row, base_ns: int) -> str:
    return "" if row.kind == "function" else words.percent(row.total_ns, base_ns)


def _params(row: Row) -> str:
    if row.parameters is None:
        return ""
    return "(above)" if row.again else f"{row.parameters:,}"


def _bar(row: Row, base_ns: int) -> str:
    """The call's time, its own part of it darker."""
    if row.kind == "function" or not base_ns:
        return ""
    total, own = (
        min(100, 100 * part / base_ns) for part in (row.total_ns, row.self_ns)
    )
    return (
        f'<span class="st-bar"><i style="width:{total:.1f}%"></i>'
        f'<b style="width:{own:.1f}%"></b></span>'
    )


def _state(row: Row) -> str:
    hint = f' title="{escape(row.error)}"' if row.error else ""
    return f"<span{hint}>{escape(row.state)}</span>" if row.state else ""
