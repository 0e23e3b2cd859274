"""Two traces side by side: as text, as HTML and as a DataFrame."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Any

from shapetrace.comparison.differences import Differences
from shapetrace.lineage.align import Aligned
from shapetrace.records import FunctionCall, ModuleCall, Recording
from shapetrace.records.printable import printable
from shapetrace.source.spoken import spoken_in
from shapetrace.views import words
from shapetrace.views.html.markup import inline
from shapetrace.views.sentences import title

if TYPE_CHECKING:
    import pandas

_WIDTH = 80
_MOST = 12
#: sizes of what came in that are told
_CHANGES = 4
#: a change of time that is told: more than a millisecond and more than half as much
_TIME_NS = 1_000_000
_TIMES = 1.5


def text(made: Differences) -> str:
    """The whole comparison in a screen of 80 columns."""
    lines: list[str] = []
    for line in _sentences(made):
        said = printable(line, keep="")
        lines += textwrap.wrap(
            said, _WIDTH, subsequent_indent="    ", break_on_hyphens=False
        )
    rows = _rows(made)
    if rows:
        from tabulate import tabulate

        table = tabulate(
            [
                [_cut(printable(one, keep=""), 26) for one in row]
                for row in rows[:_MOST]
            ],
            headers=["module call", "a", "b"],
            disable_numparse=True,
        )
        lines += ["", *(line.rstrip() for line in table.splitlines())]
        if len(rows) > _MOST:
            left = words.plural(len(rows) - _MOST, "more module call")
            lines.append(f"… and {left} in .to_dataframe()")
    return "\n".join(lines)


def html(made: Differences) -> str:
    said = "".join(f"<p>{inline(line)}</p>" for line in _sentences(made))
    rows = _rows(made)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows[: 10 * _MOST]
    )
    head = "<tr><th>module call</th><th>a</th><th>b</th></tr>"
    table = f"<table>{head}{body}</table>" if rows else ""
    return f'<div class="shapetrace">{said}{table}</div>'


def frame(made: Differences) -> pandas.DataFrame:
    """One row per call, of modules and functions, in order of time."""
    import pandas

    differs: dict[tuple[bool, int | None, int | None], list[str]] = {}
    for found in made.differences:
        key = (found.type == "function", found.index_a, found.index_b)
        word = found.what if found.dim is None else f"{found.what} dim {found.dim}"
        kept = differs.setdefault(key, [])
        if word not in kept:
            kept.append(word)
    pairs: list[Aligned[Any]] = [*made.calls, *made.functions]
    rows = []
    for pair in pairs:
        is_function = isinstance(pair.call, FunctionCall)
        key = (
            is_function,
            pair.a.index if pair.a is not None else None,
            pair.b.index if pair.b is not None else None,
        )
        rows.append(
            {
                "kind": "function" if is_function else "module",
                "name": pair.call.name,
                "type": "" if is_function else pair.call.type,
                **_columns(pair.a, "a"),
                **_columns(pair.b, "b"),
                "differs": ", ".join(differs.get(key, ())),
                "order": pair.call.order,
            }
        )
    columns = ["kind", "name", "type"]
    for side in "ab":
        columns += [f"{name}_{side}" for name in _columns(None, "")]
    frame = pandas.DataFrame(rows, columns=[*columns, "differs", "order"])
    ordered = frame.sort_values("order", kind="stable", ignore_index=True)
    return ordered.drop(columns="order")


def _columns(call: ModuleCall | FunctionCall | None, side: str) -> dict[str, Any]:
    end = f"_{side}" if side else ""
    if call is None:
        names = ("inputs", "outputs", "dtype", "device", "ms", "error", "source")
        return {f"{name}{end}": None for name in names}
    return {
        f"inputs{end}": tuple(ref.shape for ref in call.inputs),
        f"outputs{end}": tuple(ref.shape for ref in call.outputs or ()),
        f"dtype{end}": words.dtypes(call.inputs, call.outputs),
        f"device{end}": words.devices(call.inputs, call.outputs),
        f"ms{end}": call.duration_ns / 1e6,
        f"error{end}": words.error(call.error),
        f"source{end}": words.place(call.source),
    }


def _sentences(made: Differences) -> Iterator[str]:
    yield f"a: {_summary(made.a)}; b: {_summary(made.b)}"
    if made.same:
        yield "No difference but in times."
    if made.failed is not None:
        which = "b" if made.failed_b else "a"
        name = made.failed.name
        if isinstance(made.failed, ModuleCall):
            name = spoken_in((made.a, made.b), made.failed)
        error = made.failed.error
        said = f": {words.one_line(str(error))}" if error is not None else ""
        yield f"{which} failed in `{name}`{said}"
    if made.reason is not None:
        also = "; ".join(str(change) for change in made.reason.changes[1:_CHANGES])
        yield f"What came in changed: {made.reason}" + (f"; {also}" if also else "")
    if made.modules:
        shown = "; ".join(str(change) for change in made.modules[:_MOST])
        more = len(made.modules) - _MOST
        yield f"Modules: {shown}" + (f"; {more} more" if more > 0 else "")
    if made.first is not None:
        yield f"First to differ: {made.first}"
    for which, calls in (("a", made.only_a), ("b", made.only_b)):
        if calls:
            names = words.unique(spoken_in((made.a, made.b), call) for call in calls)
            shown = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
            yield f"Only in {which}: {words.plural(len(calls), 'module call')}: {shown}"
    slower = _times(made)
    if slower:
        yield f"Time: {slower}"


def _summary(rec: Recording) -> str:
    said = f"{title(rec)}, {words.plural(len(rec.calls), 'module call')}"
    if rec.has_functions:
        said += f", {words.plural(len(rec.functions), 'function')}"
    return said


def _times(made: Differences) -> str:
    """The module calls whose own time differs most."""
    found = []
    for pair in made.calls:
        if pair.a is None or pair.b is None:
            continue
        old, new = pair.a.self_ns, pair.b.self_ns
        low, high = sorted((old, new))
        if low and high - low > _TIME_NS and high > _TIMES * low:
            found.append((high - low, pair.call, old, new))
    found.sort(key=lambda entry: -entry[0])
    return "; ".join(
        f"{spoken_in((made.a, made.b), call)} {words.milliseconds(old)} → "
        f"{words.milliseconds(new)} ms"
        for _, call, old, new in found[:3]
    )


def _rows(made: Differences) -> list[list[str]]:
    """The module calls in both whose shapes, types or devices differ."""
    rows = []
    for pair in made.calls:
        if pair.a is None or pair.b is None:
            continue
        cells = [_cell(pair.a, pair.b), _cell(pair.b, pair.a)]
        if cells[0] != cells[1]:
            rows.append([spoken_in((made.a, made.b), pair.call), *cells])
    return rows


def _cell(call: ModuleCall, other: ModuleCall) -> str:
    said = f"{words.shapes(call.inputs, 1)} → "
    said += "failed" if call.error is not None else words.shapes(call.outputs, 1)
    for write in (words.dtypes, words.devices):
        mine = write(call.inputs, call.outputs)
        theirs = write(other.inputs, other.outputs)
        if call.outputs and other.outputs and mine != theirs:
            said += f" {mine}"
    return said


def _cut(cell: Any, width: int) -> str:
    said = str(cell)
    return said if len(said) <= width else said[: width - 1] + "…"
