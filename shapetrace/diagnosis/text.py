"""The explanation as text, always in the same order and at most a screen long:
what failed and where, the two shapes, the way back, the culprits, the fixes."""

from __future__ import annotations

import linecache
import textwrap
from collections.abc import Sequence

from shapetrace.diagnosis.problem import Problem, Spot
from shapetrace.diagnosis.sentence import first_line, operand
from shapetrace.diagnosis.suspects import data_name
from shapetrace.lineage import Graph
from shapetrace.records import Culprit, Diagnosis, Fix, Step
from shapetrace.source.place import segment

_WIDTH = 100
_STEPS = 8  # of a way back; what is between them is counted
_PASSES = "passes it on"


def render(
    graph: Graph, problem: Problem | None, diagnosis: Diagnosis, before: str = ""
) -> str:
    """The whole explanation, at most about 25 lines of 100 columns. `before` says what
    differs from an earlier batch that went through."""
    at = f"at {diagnosis.source}" if diagnosis.source is not None else ""
    place = " ".join(part for part in (diagnosis.where, at) if part)
    lines = _wrap(diagnosis.message + (f" [{place}]" if place else ""), "")
    if problem is not None:
        lines += _shapes(graph, problem)
    if diagnosis.lineage:
        lines += _way(problem, diagnosis.lineage)
    if before:
        lines += _wrap(f"An earlier batch went through here. Since then: {before}.", "")
    if diagnosis.severity != "note":
        lines += _culprits(diagnosis.culprits)
    lines += _fixes(diagnosis.fixes)
    if problem is not None and problem.call.error is not None:
        error = problem.call.error
        said = first_line(error.message)
        if said and said not in diagnosis.message:
            lines += _wrap(f"PyTorch said: {error.type}: {said}", "", 2)
    return "\n".join(lines)


def _wrap(text: str, indent: str, most: int = 4) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        max_lines=most,
        placeholder=" …",
        break_long_words=False,
    )


def marked(shape: Sequence[int], dim: int | None) -> str:
    """A shape with one dimension marked: `(2, >73<)`."""
    sizes = [f">{n}<" if i == dim else str(n) for i, n in enumerate(shape)]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def _shapes(graph: Graph, problem: Problem) -> list[str]:
    """One line an operand that matters: shape, type, and where it is from."""
    rows: list[tuple[str, str, str, str]] = []
    spots = {spot.tensor: spot for spot in problem.spots if spot.tensor is not None}
    for position, ref in enumerate(problem.call.inputs):
        spot = spots.get(ref.id)
        if spot is not None and spot.input not in (None, position):
            continue  # one tensor in several places: it is shown where it clashes
        parameter = graph.is_parameter(ref.id)
        if spot is None and (parameter or len(rows) > 3):
            continue
        origin = graph.origin(ref.id)
        if parameter and origin is not None:
            label, source = "parameter", f"`{origin.name}`"
        else:
            label = operand(problem, spot or Spot(ref.id, None, 0, "", position))
            label = label.removeprefix("the ").strip("`")
            source = _from(graph, ref.id)
        kind = str(ref.dtype).removeprefix("torch.")
        device = "" if ref.device.type == "cpu" else f" {ref.device}"
        shape = marked(ref.shape, spot.dim if spot is not None else None)
        rows.append((label, shape, kind + device, source))
    if not rows:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [
        _cut(
            "  "
            + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=False))
            + f"  {row[3]}"
        )
        for row in rows[:5]
    ]
    products = [product for spot in problem.spots if (product := _product(graph, spot))]
    return lines + (["  " + "; ".join(products)] if products else [])


def _product(graph: Graph, spot: Spot) -> str:
    """A size that is a product, with the factors' beginnings: "320 = 32·10"."""
    if spot.tensor is None or spot.dim is None or graph.is_parameter(spot.tensor):
        return ""
    end = graph.trail(spot.tensor, spot.dim).end
    if end.kind != "branch" or end.origin is None:
        return ""
    sign = " + " if end.origin.how == "sum" else "·"
    sizes = [str(graph.size(*source)) for source in end.sources]
    made = graph.size(end.tensor, end.dim)
    return f"{made} = {sign.join(sizes)}" if len(sizes) <= 6 else ""


def _from(graph: Graph, tensor: int) -> str:
    call = graph.producer(tensor)
    if call is None or not call.inputs:
        return data_name(graph, tensor)
    layer = graph.layer_of(call)
    name = (layer.name or layer.type) if layer is not None else call.name
    return f"from {name}" + (f" at {call.source}" if call.source else "")


def _way(problem: Problem | None, steps: Sequence[Step]) -> list[str]:
    """The way back, one line a step; steps that change nothing are counted."""
    first = steps[0]
    odd = f" of the {first.shape[first.dim]}" if first.dim is not None else ""
    lines = [f"The way back{odd}, newest first:"]
    shown = _folded(steps)
    rows = []
    for step, count in shown:
        if count:
            rows.append((f"… {count} more call{'s' * (count > 1)}", "", "", "", ""))
            continue
        place = str(step.source) if step.source is not None else ""
        how = "" if step.how == _PASSES else step.how
        how += "" if step.sure else " (a guess)"
        rows.append((step.name, step.type, marked(step.shape, step.dim), place, how))
    widths = (
        [max(len(row[i]) for row in rows if row[1]) for i in range(4)]
        if any(row[1] for row in rows)
        else [0] * 4
    )
    for row in rows:
        if not row[1]:
            lines.append(f"  {row[0]}")
            continue
        cells = "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=False))
        lines.append(_cut(f"  {cells}  {row[4]}".rstrip()))
    return lines


def _cut(line: str) -> str:
    return line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…"


def _folded(steps: Sequence[Step]) -> list[tuple[Step, int]]:
    """Steps to show, with (step, n) standing for n in a row that are left out."""
    telling = [
        i
        for i, step in enumerate(steps)
        if i == 0
        or i == len(steps) - 1
        or (step.dim is not None and step.how != _PASSES)
    ]
    if len(steps) <= _STEPS:
        telling = list(range(len(steps)))
    elif len(telling) > 5:
        # between any two that are shown a line may count what is left out
        telling = [*telling[:3], *telling[-2:]]
    elif len(telling) < 3:
        telling = [*range(3), *[i for i in telling if i >= 3]]
    shown: list[tuple[Step, int]] = []
    before = -1
    for i in telling:
        if i - before > 1:
            shown.append((steps[i], i - before - 1))
        shown.append((steps[i], 0))
        before = i
    return shown


def _name(culprit: Culprit) -> str:
    if culprit.kind in ("target", "input"):
        return f"the {culprit.name}"
    if culprit.kind == "module":
        return f"`{culprit.name}`" if culprit.name else "the model itself"
    code = segment(culprit.source)
    if not code or len(code) > 60:
        code = culprit.name
    return f"`{code}`" + (f" at {culprit.source}" if culprit.source else "")


def _culprits(culprits: Sequence[Culprit]) -> list[str]:
    lines: list[str] = []
    for number, culprit in enumerate(culprits):
        lead = "Most likely: " if number == 0 and len(culprits) > 1 else "Culprit: "
        lead = lead if number == 0 else "Or: "
        fits = ""
        if culprit.expected is not None and str(culprit.expected) not in culprit.reason:
            fits = f"; {culprit.expected} would fit"
        reason = f" {culprit.reason}" if culprit.reason else ""
        lines += _wrap(f"{lead}{_name(culprit)}{reason}{fits}.", "", 2)
    return lines


def _fixes(fixes: Sequence[Fix]) -> list[str]:
    lines: list[str] = []
    for fix in fixes:
        if not lines:
            lines.append("To fix it, one of:" if len(fixes) > 1 else "To fix it:")
        note = fix.status + (f": {fix.detail}" if fix.detail else "")
        place = f" ({fix.where})" if fix.where is not None else ""
        lines += _wrap(f"{_changed(fix)}    # {note}{place}", "  ", 2)
    return lines


def _changed(fix: Fix) -> str:
    """Of a statement over several lines those that are new."""
    if fix.where is None or "\n" not in fix.line:
        return fix.line
    last = fix.where.end_line or fix.where.line
    numbers = range(fix.where.line, last + 1)
    old = {linecache.getline(fix.where.file, n).strip() for n in numbers}
    return " ".join(line for line in fix.line.split("\n") if line.strip() not in old)
