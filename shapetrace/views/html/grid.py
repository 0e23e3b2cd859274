"""The table of calls: real rows and cells, which align wherever they are shown.

Branches fold by a checkbox in the name's cell and the style alone, without a script.
Of a long table of a page each row is laid out for itself, in columns of given widths,
and only where it is seen; the page's script folds it. As one table 5,000 rows took
seconds to fold and half a second for each step of scrolling.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import groupby

from shapetrace.lineage.steps import way_of
from shapetrace.records import Culprit, Diagnosis, ScriptName, Step, TensorRef
from shapetrace.source.spoken import spoken
from shapetrace.views import words
from shapetrace.views.changes import Shape, changed
from shapetrace.views.columns import Column
from shapetrace.views.columns.getters import state
from shapetrace.views.html.markup import element, safe, shape
from shapetrace.views.marks import CULPRIT
from shapetrace.views.rows import Row, Sheet

#: a table of no more rows than that is shown unfolded at first
OPEN_ROWS = 80
#: the same where something is marked: what is healthy is folded
FEW_ROWS = 14
DEEPEST_INDENT = 12
#: from so many rows on each stands for itself
LONG = 500
#: what a column's widest cell may be, in digits: a name, and what is said of a row
_WIDEST = {"module": 44, "state": 24}
_SHAPES = {"input_shapes": "inputs", "output_shapes": "outputs"}
_MOST_SHAPES = 2


def grid(made: Sheet, *, anchors: bool) -> str:
    """`anchors`: rows get the ids that `anchor` gives, for links within a page."""
    odd = odd_dims(made.findings)
    groups = [row.group for row in made.rows]
    cells = [
        _cells(made, column, column.cells(groups, values), odd)
        for column, values in made.columns.items()
    ]
    head = element("th", "module", scope="col")
    for column in made.columns:
        look = "st-number" if column.right else ""
        head += element("th", safe(column.title), look, scope="col")
    parents = {row.parent for row in made.rows} - {None}
    opened = _opened(made)
    above: list[tuple[int, ...]] = []
    lines = []
    long = anchors and len(made.rows) > LONG
    for at, row in enumerate(made.rows):
        inside = () if row.parent is None else (*above[row.parent], row.parent)
        above.append(inside)
        folded_by = () if long else (f"st-in{one}" for one in inside)
        look = " ".join([f"st-{row.kind}", *_mood(row), *folded_by])
        fold = f"st-fold{at}" if at in parents else ""
        name = _name(row, made.context.rec.called, fold, at in opened)
        ident = None
        if anchors and row.kind == "call":
            ident = anchor(row.group.first.index)
        line = name + "".join(column[at] for column in cells)
        depth = str(row.depth) if long else None
        lines.append(element("tr", line, look, id=ident, data_depth=depth))
    body = (
        f"<thead><tr>{head}</tr></thead>\n<tbody>{chr(10).join(lines)}</tbody></table>"
    )
    if long:
        table = f'<table class="st-table st-long" style="{_widths(made)}">'
        return f'<div class="st-scroll">{table}{body}</div>'
    folds = "".join(
        f".st-table:has(.st-fold{at}:not(:checked)) .st-in{at}{{display:none}}"
        for at in sorted(one for one in parents if one is not None)
    )
    return (
        f"<style>{folds}</style>"
        f'<div class="st-scroll"><table class="st-table">{body}</div>'
    )


def _widths(made: Sheet) -> str:
    """Of all columns and of the row, from the characters in them: few are wider than a
    digit."""
    groups = [row.group for row in made.rows]
    names = [
        2 * min(row.depth, DEEPEST_INDENT) + len(row.short or row.label)
        for row in made.rows
    ]
    widths = [min(max(names) + 2, _WIDEST["module"])]
    for column, values in made.columns.items():
        texts = [column.title, *column.cells(groups, values)]
        most = _WIDEST.get(column.name)
        longest = max(map(len, texts))
        widths.append(longest if most is None else min(longest, most))
    name, *others = (f"calc({width}ch + 1.2em)" for width in widths)
    columns = " ".join([f"minmax({name},1fr)", *others])
    whole = f"calc({sum(widths)}ch + {1.2 * len(widths):.1f}em)"
    return f"--st-columns:{columns};--st-width:{whole}"


def anchor(call: int) -> str:
    """The id of the row of a module call."""
    return f"st-call-{call}"


def odd_dims(findings: Iterable[Diagnosis]) -> dict[int, set[int]]:
    """By a tensor's id the dimensions along which a wrong size went: from where it was
    met back to the likeliest culprit, on the ways that lead to it."""
    found: dict[int, set[int]] = {}
    for finding in findings:
        if finding.severity == "note":
            continue
        blamed = finding.culprits[0] if finding.culprits else None
        for _, way in groupby(finding.lineage, key=way_of):
            steps = list(way)
            ends = [at for at, step in enumerate(steps) if _made_by(blamed, step)]
            if not ends and steps[0].part:
                continue  # a factor that is as it should be
            for step in steps[: ends[0] + 1] if ends else steps:
                if step.tensor is not None and step.dim is not None:
                    found.setdefault(step.tensor, set()).add(step.dim)
    return found


def _made_by(culprit: Culprit | None, step: Step) -> bool:
    """Whether the step is where the culprit put the wrong size."""
    if culprit is None or step.dim is None:
        return False
    if culprit.kind == "module":
        if step.module != culprit.name:
            return False
    elif step.source != culprit.source:
        return False
    return culprit.size is None or step.shape[step.dim] == culprit.size


def _mood(row: Row) -> list[str]:
    """What colours a row: the failure itself, not all that encloses it."""
    if row.group.status == "failed" and not row.group.inside:
        return ["st-failed"]
    if any(remark.word == CULPRIT for remark in row.group.remarks):
        return ["st-culprit"]
    if row.group.remarks:
        return ["st-warned"]
    return ["st-recomputed"] if row.group.status == "recomputed" else []


def _opened(made: Sheet) -> set[int]:
    """Rows whose subtree is shown at first: all of few, else the way to the marks."""
    rows = made.rows
    opened = {at for at, row in enumerate(rows) if row.depth == 0}
    marked = [row.parent for row in rows if state(row.group)]
    if len(rows) <= (FEW_ROWS if marked else OPEN_ROWS):
        return set(range(len(rows)))
    for above in marked:
        while above is not None and above not in opened:
            opened.add(above)
            above = rows[above].parent
    return opened


def _name(row: Row, called: Sequence[ScriptName], fold: str, is_open: bool) -> str:
    indent = min(row.depth, DEEPEST_INDENT)
    level = element("small", str(row.depth)) + " " if row.depth > indent else ""
    names = row.group.names
    full = ", ".join(spoken(called, name) or words.ROOT for name in names[:3])
    if len(names) > 3:
        full += f" and {len(names) - 3} more"
    if row.kind == "call" and row.group.first.source is not None:
        full += f" · called at {row.group.first.source}"
    label = f"{level}{safe(row.short or row.label)}"
    if fold:
        box = f'<input type="checkbox" class="{fold}"{" checked" if is_open else ""}>'
        label = f"<label>{box}{label}</label>"
    return element("th", label, style=f"--st-depth:{indent}", title=full, scope="row")


def _cells(
    made: Sheet, column: Column, texts: Sequence[str], odd: dict[int, set[int]]
) -> list[str]:
    """The cells of one column."""
    rows = made.rows
    if column.name in _SHAPES:
        return [
            _shapes(row, _SHAPES[column.name], odd) if text else "<td></td>"
            for row, text in zip(rows, texts, strict=True)
        ]
    if column.name == "state":
        return [
            element(
                "td",
                safe(text) if state(row.group) else "",
                "st-words",
                title=row.error,
            )
            for row, text in zip(rows, texts, strict=True)
        ]
    if column.name == "total_ms" and made.context.base_ns:
        return [
            element("td", safe(text), "st-number st-bar", style=_bar(made, row))
            for row, text in zip(rows, texts, strict=True)
        ]
    look = "st-number" if column.right else ""
    return [element("td", safe(text), look) for text in texts]


def _bar(made: Sheet, row: Row) -> str | None:
    """The call's time behind the number, its own part of it darker."""
    if row.kind == "function":
        return None
    calls = row.group.calls
    own = 0 if row.kind == "more" else sum(call.self_ns for call in calls)
    total = sum(call.duration_ns for call in calls)
    base = made.context.base_ns
    return (
        f"--st-total:{min(100, 100 * total / base):.1f}%;"
        f"--st-part:{min(100, 100 * own / base):.1f}%"
    )


def _shapes(row: Row, field: str, odd: dict[int, set[int]]) -> str:
    """Sizes that the call changed are bold, wrong ones are marked."""
    call = row.group.first
    tensors: Sequence[TensorRef] | None = getattr(call, field)
    if tensors is None:
        return element("td", "–", title="raised")
    before: Shape | None = None
    if field == "outputs" and call.inputs:
        before = call.inputs[0].shape
    written = [_one(tensor, before, odd.get(tensor.id, ())) for tensor in tensors]
    hint = None
    if len(written) > _MOST_SHAPES:
        written[_MOST_SHAPES:] = [f"+{len(written) - _MOST_SHAPES} more"]
        hint = "\n".join(
            f"{one.path}: {words.shape(one.shape)} {words.dtype(one.dtype)}"
            f" {one.device}"
            for one in tensors
        )
    return element("td", ", ".join(written), "st-shape", title=hint)


def _one(tensor: TensorRef, before: Shape | None, odd: Collection[int]) -> str:
    return shape(tensor.shape, changed(before, tensor.shape), odd)
