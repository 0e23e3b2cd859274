"""The way back as a picture: who made the odd size, where ways part and meet.

A simple layered layout: the newest call stands on top, what it was made of below it,
and ways beside each other have columns of their own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby

from shapetrace.lineage.steps import way_of
from shapetrace.records import ScriptName, Step
from shapetrace.source.spoken import said_step
from shapetrace.views.html.markup import safe

_WIDTH, _HEIGHT = 230, 40
_GAP_X, _GAP_Y = 24, 18
#: boxes of one way that are drawn; what is between is counted
_MOST_BOXES = 5
_MOST_WAYS = 6
_LONGEST = 31


@dataclass(slots=True)
class Box:
    title: str
    place: str
    sizes: Sequence[int]
    dims: set[int]
    column: int
    layer: int = 0
    sure: bool = True
    #: the boxes that it is made of
    older: tuple[int, ...] = ()


def way_back(steps: Sequence[Step], called: Collection[ScriptName] = ()) -> str:
    """An inline SVG, with the newest step on top; `called`: what the script calls its
    models."""
    boxes = _boxes(steps, called)
    if len(boxes) < 2:
        return ""
    deepest = max(box.layer for box in boxes)
    columns = 1 + max(box.column for box in boxes)
    ends = [(boxes[old], box) for box in boxes for old in box.older]
    beside = any(_beside(*one) for one in ends)
    wide = columns * (_WIDTH + _GAP_X) - (0 if beside else _GAP_X) + 2
    high = (deepest + 1) * (_HEIGHT + _GAP_Y) - _GAP_Y + 2
    lines = [_edge(*one) for one in ends]
    drawn = [_box(box) for box in boxes]
    said = "The calls that made the size, the newest on top"
    return (
        f'<div class="st-picture"><svg role="img" aria-label="{said}" width="{wide}"'
        f' height="{high}" viewBox="0 0 {wide} {high}">{"".join(lines + drawn)}'
        "</svg></div>"
    )


def _boxes(steps: Sequence[Step], called: Collection[ScriptName]) -> list[Box]:
    """Each way is a chain; a part's way hangs on the step that joined it, and ends
    where it meets a tensor that another way has shown."""
    ways = [list(way) for _, way in groupby(steps, key=way_of)]
    boxes: list[Box] = []
    shown: dict[int, int] = {}
    joint: int | None = None
    for column, way in enumerate(ways[:_MOST_WAYS]):
        into = way[0].into
        newer = joint if into is None else shown.get(into, joint)
        for told, count in _told(way, set(shown)):
            at = len(boxes)
            if told is None:
                boxes.append(Box(f"… {count} more", "", (), set(), column))
            elif told.tensor is not None and told.tensor in shown:
                at = shown[told.tensor]  # here it meets another way
            else:
                place = str(told.source) if told.source is not None else ""
                made = Box(said_step(called, told), place, told.shape, set(), column)
                made.sure = told.sure
                boxes.append(made)
                if told.tensor is not None:
                    shown[told.tensor] = at
            if told is not None and told.dim is not None:
                boxes[at].dims.add(told.dim)
            if newer is not None and newer != at and at not in boxes[newer].older:
                boxes[newer].older += (at,)
            newer = at
        if column == 0:
            joint = newer
    _layers(boxes)
    _columns(boxes)
    return boxes


def _told(way: Sequence[Step], shown: Collection[int]) -> list[tuple[Step | None, int]]:
    """The steps of one way that are drawn, and between them how many are not: the ends,
    those where it meets another way, and those that change the size."""
    last = len(way) - 1
    telling = [
        at
        for at, step in enumerate(way)
        if at in (0, last)
        or step.tensor in shown
        or len(way) <= _MOST_BOXES
        or _size(step) != _size(way[at + 1])
    ]
    if len(telling) > _MOST_BOXES:
        telling = [*telling[:3], *telling[-2:]]
    found: list[tuple[Step | None, int]] = []
    before = -1
    for at in telling:
        if at - before == 2:  # as high as the box that would stand for it
            found.append((way[at - 1], 0))
        elif at - before > 2:
            found.append((None, at - before - 1))
        found.append((way[at], 0))
        before = at
    return found


def _size(step: Step) -> int | None:
    return None if step.dim is None else step.shape[step.dim]


def _layers(boxes: list[Box]) -> None:
    """A box stands below all that are made of it. What a later way meets stands higher
    up in the list: once more for it, and for each that stands below it in turn."""
    for _ in boxes:
        before = [box.layer for box in boxes]
        for box in boxes:
            for old in box.older:
                boxes[old].layer = max(boxes[old].layer, box.layer + 1)
        if before == [box.layer for box in boxes]:
            return


def _columns(boxes: list[Box]) -> None:
    """A way goes on in the leftmost column in which nothing stands below the box that
    it hangs on: a picture of ways one after the other is narrow."""
    deepest: dict[int, int] = {}
    for way in sorted({box.column for box in boxes}):
        own = [at for at, box in enumerate(boxes) if box.column == way]
        hung = min((one.layer for one in boxes if own[0] in one.older), default=-1)
        column = next(n for n in range(way + 1) if deepest.get(n, -1) <= hung)
        for at in own:
            boxes[at].column = column
            deepest[column] = max(deepest.get(column, 0), boxes[at].layer)


def _corner(box: Box) -> tuple[int, int]:
    return 1 + box.column * (_WIDTH + _GAP_X), 1 + box.layer * (_HEIGHT + _GAP_Y)


def _beside(old: Box, new: Box) -> bool:
    """Whether other boxes stand between two, so that the edge goes around them."""
    return old.column == new.column and old.layer > new.layer + 1


def _edge(old: Box, new: Box) -> str:
    x1, y1 = _corner(new)
    x2, y2 = _corner(old)
    if _beside(old, new):
        x, y1, y2 = x1 + _WIDTH, y1 + _HEIGHT // 2, y2 + _HEIGHT // 2
        out = x + _GAP_X
        return f'<path class="st-edge" d="M{x} {y1}C{out} {y1} {out} {y2} {x} {y2}"/>'
    x1, x2, y1 = x1 + _WIDTH // 2, x2 + _WIDTH // 2, y1 + _HEIGHT
    bend, low = _GAP_Y // 2, y1 + _GAP_Y  # within the gap below the newer box
    curve = f"M{x1} {y1}C{x1} {y1 + bend} {x2} {low - bend} {x2} {low}"
    down = "" if low == y2 else f"L {x2} {y2}"
    return f'<path class="st-edge" d="{curve}{down}"/>'


def _box(box: Box) -> str:
    x, y = _corner(box)
    middle = x + _WIDTH // 2
    look = "st-box" if box.sure else "st-box st-guess"
    sizes = "×".join(
        f'<tspan class="st-odd">{size}</tspan>' if dim in box.dims else str(size)
        for dim, size in enumerate(box.sizes)
    )
    below = " · ".join(part for part in (sizes, safe(_short(box.place, 22))) if part)
    top = y + (16 if below else 25)
    return (
        f'<g class="{look}"><rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}"'
        f' rx="5"/><text x="{middle}" y="{top}">{safe(_short(box.title, _LONGEST))}'
        f'</text><text class="st-small" x="{middle}" y="{y + 32}">{below}</text></g>'
    )


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"…{text[len(text) - most + 1:]}"
