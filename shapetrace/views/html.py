"""The HTML table: a page of its own, or a fragment for a notebook. No script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from shapetrace.records import Diagnosis, Recording, TensorRef
from shapetrace.views import words
from shapetrace.views.columns.values import state
from shapetrace.views.marks import CULPRIT, failure_of
from shapetrace.views.rows import ROOT, Row, Sheet, sheet
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


@dataclass(frozen=True, slots=True)
class Cells:
    """A column as HTML. `width` in characters is the least; `share` divides the room
    that is left."""

    title: str
    width: int
    cells: list[str]
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
        parts.append(_table(made))
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
    if len(made.context.dtypes) == 1:
        said += made.context.dtypes
    if len(made.context.devices) == 1:
        said += made.context.devices
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


def _table(made: Sheet) -> str:
    columns = _columns(made)
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
            f'<span role="cell"{column.look}>{column.cells[at]}</span>'
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
    if row.group.status == "failed" and not row.group.inside:
        return " st-failed"
    if any(remark.word.startswith(CULPRIT) for remark in row.group.remarks):
        return " st-culprit"
    if row.group.remarks:
        return " st-warned"
    return " st-recomputed" if row.group.status == "recomputed" else ""


def _opened(made: Sheet) -> set[int]:
    """Rows whose subtree is shown at first: all of few, else the way to the marks."""
    if len(made.rows) <= OPEN_ROWS:
        return set(range(len(made.rows)))
    opened = {at for at, row in enumerate(made.rows) if row.depth == 0}
    for row in made.rows:
        above = row.parent if state(row.group) else None
        while above is not None and above not in opened:
            opened.add(above)
            above = made.rows[above].parent
    return opened


def _columns(made: Sheet) -> list[Cells]:
    rows = made.rows
    groups = [row.group for row in rows]
    names = max(len(row.label) + 2 * min(row.depth, DEEPEST_INDENT) for row in rows)
    found = [Cells("module", min(names, 44) + 4, [_name(row) for row in rows], 2)]
    for column, values in made.columns.items():
        if column.name == "total_ms":
            bars = [_bar(row, made.context.base_ns) for row in rows]
            found.append(Cells("time", 12, bars, 2))
        texts = column.cells(groups, values)
        widest = max(map(len, texts))
        if column.name in _MARKED:
            cells = [_shapes(row, column.name, text) for row, text in zip(rows, texts)]
        elif column.name == "state":
            cells = [
                _state(row, text if value else "")
                for row, text, value in zip(rows, texts, values, strict=True)
            ]
        else:
            cells = [escape(text) for text in texts]
        look = ' class="st-number"' if column.right else ""
        width = 8 if column.right else min(widest, _WIDEST) + 1
        found.append(Cells(column.title, width, cells, look=look))
    return found


#: the columns of shapes, and what they are shapes of
_MARKED = {"input_shapes": "inputs", "output_shapes": "outputs"}
_WIDEST = 26


def _name(row: Row) -> str:
    indent = min(row.depth, DEEPEST_INDENT)
    level = f"<small>{row.depth}</small> " if row.depth > indent else ""
    names = row.group.names
    full = ", ".join(name or ROOT for name in names[:3])
    if len(names) > 3:
        full += f" and {len(names) - 3} more"
    if row.kind == "call" and row.group.first.source is not None:
        full += f" · called at {row.group.first.source}"
    return (
        f'<span class="st-name" style="--st-depth:{indent}"'
        f' title="{escape(full)}">{level}{escape(row.label)}</span>'
    )


def _shapes(row: Row, column: str, text: str) -> str:
    if not text:
        return ""
    tensors = getattr(row.group.first, _MARKED[column])
    return f'<span title="{escape(_every(tensors))}">{escape(text)}</span>'


def _every(tensors: Iterable[TensorRef] | None) -> str:
    """All tensors of a call, for the tooltip."""
    if tensors is None:
        return "raised"
    return "\n".join(
        f"{tensor.path}: {words.shape(tensor.shape)} {words.dtype(tensor.dtype)}"
        f" {tensor.device}"
        for tensor in tensors
    )


def _bar(row: Row, base_ns: int) -> str:
    """The call's time, its own part of it darker."""
    if row.kind == "function" or not base_ns:
        return ""
    calls = row.group.calls
    own_ns = 0 if row.kind == "more" else sum(call.self_ns for call in calls)
    total, own = (
        min(100, 100 * part / base_ns)
        for part in (sum(call.duration_ns for call in calls), own_ns)
    )
    return (
        f'<span class="st-bar"><i style="width:{total:.1f}%"></i>'
        f'<b style="width:{own:.1f}%"></b></span>'
    )


def _state(row: Row, text: str) -> str:
    hint = f' title="{escape(row.error)}"' if row.error else ""
    return f"<span{hint}>{escape(text)}</span>" if text else ""
