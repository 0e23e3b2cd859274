"""Plots with matplotlib: steps by phase, time by module, memory by kind, roofline.

The colours are Tol's bright and vibrant ones, told apart with any colour vision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from shapetrace.costs import Costs, held, memory, steps
from shapetrace.errors import UsageError
from shapetrace.records import ModuleCall, Recording
from shapetrace.records.printable import printable
from shapetrace.source.spoken import spoken
from shapetrace.views import words
from shapetrace.views.text import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_BARS = 20
_MOST_LABELS = 4
_SIZE = (6.0, 4.0)
_BLUE, _ORANGE, _GREY, _DARK = "#0077bb", "#ee7733", "#bbbbbb", "#555555"
_TEAL, _RED, _MAGENTA, _CYAN = "#009988", "#cc3311", "#aa3377", "#33bbee"
_PHASES = {
    "data": _CYAN,
    "forward": _BLUE,
    "loss": _MAGENTA,
    "backward": _ORANGE,
    "optimizer": _TEAL,
    "rest": _GREY,
}
_KINDS = {
    "parameters": _GREY,
    "optimizer": _TEAL,
    "gradients": _MAGENTA,
    "activations": _BLUE,
    "backward": _ORANGE,
}
_MARKS = "osD^vPX*<>"
_TYPES = (_BLUE, _ORANGE, _TEAL, _MAGENTA, _CYAN, _RED, _DARK)


def plot(
    rec: Recording, costs: Costs, kind: str = "time", ax: Axes | None = None
) -> Axes:
    """Draw one kind of plot and give its Axes. Raises `UsageError` where matplotlib
    or what is to be drawn is missing."""
    kinds: dict[str, Callable[[Recording, Costs, Any], None]] = {
        "time": _time,
        "steps": _steps,
        "memory": _memory,
        "roofline": _roofline,
    }
    if kind not in kinds:
        choices = ", ".join(map(repr, kinds))
        raise UsageError(f"there is no plot {kind!r}: plot() takes one of {choices}")
    _check(rec, kind)
    if ax is None:
        ax = _new_axes()
    # before names are placed: what comes later moves all that was measured
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize="small")
    kinds[kind](rec, costs, ax)
    return ax


def _check(rec: Recording, kind: str) -> None:
    """What is to be drawn must have been recorded."""
    if not rec.has_timing:
        raise UsageError(
            f"plot({kind!r}) needs times: leave timing=False out of trace()."
        )
    if not rec.calls:
        raise UsageError(
            f"plot({kind!r}): no module was called in this trace. Call the model "
            "inside the `with` block."
        )
    if kind == "memory" and not rec.live:
        raise UsageError(
            "plot('memory') needs the bytes that were held: record them with "
            "trace(model, memory=True)."
        )
    if kind == "roofline" and not rec.has_functions:
        raise UsageError(
            "plot('roofline') counts the FLOPs of functions: leave functions=False "
            "out of trace()."
        )


def _new_axes() -> Axes:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise UsageError(
            "plot() draws with matplotlib, which is not installed: "
            "pip install matplotlib (from a checkout: pip install '.[plot]')"
        ) from error
    _, ax = pyplot.subplots(figsize=_SIZE, layout="constrained")
    return ax


def _label(rec: Recording, call: ModuleCall, limit: int = 26) -> str:
    """As the script calls it."""
    name = spoken(rec.called, call.name)
    said = _fitting(name, limit) if name else f"({shorten(call.type, limit)})"
    return _drawable(said)


def _drawable(name: str) -> str:
    """Matplotlib takes what is between dollars for a formula, and has no glyphs for
    what no terminal shows."""
    return printable(name, keep="").replace("$", r"\$")


def _fitting(name: str, limit: int) -> str:
    """Its long words are cut, since numbers tell modules apart; else its begin."""
    parts = name.split(".")
    for most in range(max(2, *map(len, parts)), 1, -1):
        cut = (part if len(part) <= most else f"{part[:most - 1]}…" for part in parts)
        if len(said := ".".join(cut)) <= limit:
            return said
    return f"…{name[1 - limit:]}"


def _legend(ax: Axes, columns: int) -> None:
    ax.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=columns,
        frameon=False,
        fontsize="small",
        handlelength=1.0,
        columnspacing=1.2,
    )


# -- time ----------------------------------------------------------------------------


def _time(rec: Recording, costs: Costs, ax: Axes) -> None:
    """The slowest modules by their own time, forward and backward."""
    forward: dict[str, float] = {}
    backward: dict[str, float] = {}
    labels: dict[str, str] = {}
    for call in rec.calls:
        cost = costs.calls[call.index].corrected_self_ns
        known = costs.settled and cost is not None
        time = cost if known and cost is not None else call.self_ns
        forward[call.name] = forward.get(call.name, 0.0) + time / 1e6
        label = _label(rec, call)
        if spoken(rec.called, call.name):
            label = f"{label} {_drawable(shorten(call.type, 26))}"
        labels.setdefault(call.name, label)
        back = (call.backward_ns or 0) / 1e6
        backward[call.name] = backward.get(call.name, 0.0) + back
        if call.parent is not None:
            backward[rec.calls[call.parent].name] -= back
    own = {name: forward[name] + max(0.0, backward[name]) for name in forward}
    slowest = sorted(own, key=lambda name: -own[name])
    shown, rest = slowest[:_MOST_BARS], slowest[_MOST_BARS:]
    bars = [(labels[n], forward[n], max(0.0, backward[n])) for n in shown]
    rows = range(len(bars))
    ax.barh(rows, [one[1] for one in bars], color=_BLUE, label="forward")
    if any(one[2] for one in bars):
        starts = [one[1] for one in bars]
        ax.barh(rows, [one[2] for one in bars], left=starts, color=_ORANGE,
                label="backward")  # fmt: skip
    size = 8.0 if len(bars) <= 14 else 6.5
    ax.set_yticks(rows, [one[0] for one in bars])
    ax.invert_yaxis()
    whole = sum(own.values()) or 1.0
    for at, (_, there, back) in enumerate(bars):
        share = f" {(there + back) / whole:.1%}"
        ax.text(there + back, at, share, va="center", fontsize=size)
    ax.margins(x=0.14, y=0.01)
    corrected = ", without the tracer's" if costs.settled else ""
    said = f"own time, ms{corrected}"
    if rest:
        left = sum(own[name] for name in rest) / whole
        said += f"\n{words.plural(len(rest), 'more module')}: {left:.1%}"
    ax.set_xlabel(said, fontsize="small")
    _legend(ax, 2)
    ax.tick_params("y", labelsize=size, length=0)


def _steps(rec: Recording, costs: Costs, ax: Axes) -> None:
    """A bar for each step, by phase."""
    found = steps(rec)
    if not len(found):
        raise UsageError("plot('steps'): no step was recorded in this trace.")
    shown = found.steps[:_MOST_BARS]
    rows = range(len(shown))
    left = [0.0] * len(shown)
    for phase, colour in _PHASES.items():
        times = [step.phases.get(phase, 0) / 1e6 for step in shown]
        if phase not in shown[0].phases:
            continue
        ax.barh(rows, times, left=left, color=colour, label=phase, height=0.8)
        left = [a + b for a, b in zip(left, times, strict=True)]
    ax.set_yticks(rows, [f"step {step.index + 1}" for step in shown])
    ax.invert_yaxis()
    if len(shown) < 3:
        ax.set_ylim(2.0, -1.0)  # one bar does not fill the picture
    more = len(found) - len(shown)
    ax.set_xlabel("ms" + (f"; {more} more steps" if more else ""), fontsize="small")
    _legend(ax, 6)


# -- memory --------------------------------------------------------------------------


def _memory(rec: Recording, costs: Costs, ax: Axes) -> None:
    """What is held over time by kind, and the call where it is most."""
    most_held, moments = memory(rec, costs), held(rec, costs)
    times = [one.time_ns / 1e6 for one in moments]
    # as floats: those of a report from somebody else may be larger than numpy's
    fixed = float(most_held.parameters + most_held.buffers)
    layers = {"parameters": [fixed] * len(times)}
    for kind in list(_KINDS)[1:]:
        layers[kind] = [float(getattr(one, kind)) for one in moments]
    drawn = {kind: sizes for kind, sizes in layers.items() if any(sizes)}
    edges = [*times, max(rec.duration_ns / 1e6, times[-1])]
    base = [0.0] * len(edges)
    for kind, sizes in drawn.items():
        top = [a + b for a, b in zip(base, [*sizes, sizes[-1]], strict=True)]
        name = "on its way back" if kind == "backward" else kind
        # a line around it shows what lasted less than a pixel is wide; what is lower
        # covers the line of what is empty
        ax.fill_between(edges, base, top, step="post", color=_KINDS[kind], label=name,
                        linewidth=0.5, zorder=2 - len(ax.collections) / 10)  # fmt: skip
        base = top
    most = max(range(len(times)), key=base.__getitem__)
    call = moments[most].call
    where = "between modules" if call is None else f"in {_label(rec, rec.calls[call])}"
    ax.plot([times[most]], [base[most]], "v", color="black", clip_on=False)
    said = f"▼ most: {words.scaled(base[most], 'B')}, {where}"
    ax.set_xlabel(f"ms, as recorded        {said}", fontsize="small")
    ax.margins(x=0.01, y=0.06)
    ax.set_ylim(bottom=0)
    ax.yaxis.set_major_formatter(lambda value, _: words.scaled(value, "B"))
    _legend(ax, 3 if len(drawn) > 3 else len(drawn))


# -- roofline ------------------------------------------------------------------------


class _Point(NamedTuple):
    call: ModuleCall
    operations: int
    moved: int
    time_ns: int
    #: whether torch counts its FLOPs; else each element of its largest tensor is one
    #: operation
    counted: bool

    @property
    def x(self) -> float:
        return self.operations / self.moved

    @property
    def y(self) -> float:
        return self.operations / self.time_ns * 1e9


def _roofline(rec: Recording, costs: Costs, ax: Axes) -> None:
    """Innermost modules: operations a byte against operations a second. The roof is
    the best that this trace reached itself, since what the machine could reach is not
    known."""
    parents = {call.parent for call in rec.calls}
    inner = [call for call in rec.calls if call.index not in parents]
    groups: dict[str, list[ModuleCall]] = {}
    for call in inner:
        groups.setdefault(call.name, []).append(call)
    found = [_point(calls, costs) for calls in groups.values()]
    points = [point for point in found if point is not None]
    if not points:
        raise UsageError(
            "plot('roofline'): no module of this trace computes anything that takes "
            "time and moves bytes."
        )
    best = max(point.y for point in points)
    moved = max(point.y / point.x for point in points)
    ridge = best / moved
    left = min(ridge, *(point.x for point in points)) / 2
    right = max(ridge, *(point.x for point in points)) * 2
    ends = [left, ridge, right], [left * moved, best, best]
    (roof,) = ax.plot(*ends, color=_GREY, zorder=0)
    by_type: dict[str, list[_Point]] = {}
    for point in points:
        by_type.setdefault(point.call.type, []).append(point)
    order = sorted(by_type, key=lambda one: -sum(p.time_ns for p in by_type[one]))
    for at, kind in enumerate(order[: len(_MARKS)]):
        _dots(by_type[kind], kind, _TYPES[at % len(_TYPES)], _MARKS[at], ax)
    ax.set(xscale="log", yscale="log")
    ax.set_xlabel(
        f"operations a byte moved (hollow: one an element)\nroof: the best of this "
        f"trace, {words.scaled(best, 'FLOP/s')} and {words.scaled(moved, 'B/s')}",
        fontsize="small",
    )
    ax.set_ylabel("operations a second", fontsize="small")
    ax.yaxis.set_major_formatter(lambda value, _: words.scaled(value, ""))
    low, high = ax.get_ylim()
    few = high < 20 * low  # so that not one power of ten may lie between them
    ax.yaxis.set_minor_formatter(
        lambda value, _: words.scaled(value, "") if few and _leads(value) else ""
    )
    _legend(ax, 4)
    # last: labels and legend take room from the axes, and so move the names together
    _name(rec, sorted(points, key=lambda point: -point.time_ns), roof, ax)


def _leads(value: float) -> bool:
    """Whether a number begins with 2 or 5, as the marks between powers of ten do."""
    return f"{value:e}"[0] in "25"


def _dots(points: list[_Point], kind: str, colour: str, mark: str, ax: Axes) -> None:
    counted = points[0].counted
    ax.scatter(
        [point.x for point in points],
        [point.y for point in points],
        s=22,
        marker=mark,
        facecolors=colour if counted else "none",
        edgecolors=colour,
        linewidths=1.0,
        # the legend leaves out what begins with an underscore
        label=_drawable(shorten(kind.lstrip("_") or kind, 18)),
    )


def _point(calls: Sequence[ModuleCall], costs: Costs) -> _Point | None:
    """One module, over all its calls."""
    spent = [costs.calls[call.index] for call in calls]
    moved = sum(cost.moved_bytes or 0 for cost in spent)
    time = sum(cost.time_ns for cost in spent)
    flops = sum(cost.flops or 0 for cost in spent)
    elements = sum(map(_elements, calls))
    if not moved or not time or not (flops or elements):
        return None
    return _Point(calls[0], flops or elements, moved, time, bool(flops))


def _elements(call: ModuleCall) -> int:
    """Of its largest tensor: what a pooling gives is less than it looks at, and what
    stretches gives more than it took."""
    ends = (*call.inputs, *(call.outputs or ()))
    return max((math.prod(ref.shape) for ref in ends), default=0)


def _name(rec: Recording, points: Sequence[_Point], roof: Any, ax: Axes) -> None:
    """Names of the longest ones, where they hide no other name and no roof."""
    from matplotlib.patheffects import withStroke

    figure: Any = ax.get_figure()
    figure.canvas.draw()
    frame = ax.get_window_extent()
    places = ax.transData.transform([(point.x, point.y) for point in points])
    dots = [(x, y) for x, y in places]
    line = roof.get_path().transformed(ax.transData)
    taken: list[Any] = []
    for point in points:
        if len(taken) == _MOST_LABELS:
            return
        for x, y, side in _PLACES:
            label = ax.annotate(
                _label(rec, point.call, 20),
                (point.x, point.y),
                xytext=(x, y),
                textcoords="offset points",
                ha=side,
                fontsize="x-small",
                path_effects=[withStroke(linewidth=2, foreground="white")],
            )
            box = label.get_window_extent()
            inside = frame.contains(box.x0, box.y0) and frame.contains(box.x1, box.y1)
            hidden = any(box.padded(4).contains(*dot) for dot in dots)
            hidden = hidden or line.intersects_bbox(box, filled=False)
            if inside and not hidden and not any(map(box.overlaps, taken)):
                taken.append(box)
                break
            label.remove()


#: where a name may stand beside its point
_PLACES = (
    (6, -3, "left"),
    (-6, -3, "right"),
    (0, -13, "center"),
    (0, 7, "center"),
    (6, -16, "left"),
    (-6, -16, "right"),
    (10, 14, "left"),
    (-10, 14, "right"),
)
