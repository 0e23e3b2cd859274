"""Plots with matplotlib: time by module, live memory over time, roofline."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import TYPE_CHECKING, Any

from shapetrace.costs import CallCost, Costs
from shapetrace.errors import UsageError
from shapetrace.records import ModuleCall, Recording
from shapetrace.views import words
from shapetrace.views.text import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_BARS = 20
_BLUE, _ORANGE, _GREY = "#4477aa", "#ee7733", "#999999"


def plot(
    rec: Recording, costs: Costs, kind: str = "time", ax: Axes | None = None
) -> Axes:
    """Draw one kind of plot and give its Axes. Raises `UsageError` where matplotlib
    or what is to be drawn is missing."""
    kinds: dict[str, Callable[[Recording, Costs, Any], None]] = {
        "time": _time,
        "memory": _memory,
        "roofline": _roofline,
    }
    if kind not in kinds:
        choices = ", ".join(map(repr, kinds))
        raise UsageError(f"there is no plot {kind!r}: plot() takes one of {choices}")
    _check(rec, kind)
    if ax is None:
        ax = _new_axes(kind, rec)
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
            "plot('memory') needs the bytes of activations: record them with "
            "trace(model, memory=True)."
        )
    if kind == "roofline" and not rec.has_functions:
        raise UsageError(
            "plot('roofline') counts the FLOPs of functions: leave functions=False "
            "out of trace()."
        )


def _new_axes(kind: str, rec: Recording) -> Axes:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise UsageError(
            "plot() draws with matplotlib, which is not installed: "
            "pip install shapetrace[plot]"
        ) from error
    bars = min(_MOST_BARS, len({call.name for call in rec.calls}))
    height = max(2.0, 0.9 + 0.27 * bars) if kind == "time" else 4.5
    _, ax = pyplot.subplots(figsize=(8, height), layout="constrained")
    return ax


def _label(call: ModuleCall, limit: int = 34) -> str:
    return shorten(call.name or f"({call.type})", limit)


def _time(rec: Recording, costs: Costs, ax: Axes) -> None:
    """The slowest modules by their own time, without the tracer's."""
    own: dict[str, float] = {}
    labels: dict[str, str] = {}
    corrected = costs.corrected_ns is not None
    for call in rec.calls:
        cost = costs.calls[call.index].corrected_self_ns
        time = call.self_ns if cost is None else cost
        own[call.name] = own.get(call.name, 0.0) + time / 1e6
        label = f"{_label(call)}  {call.type}" if call.name else _label(call)
        labels.setdefault(call.name, label)
    slowest = sorted(own, key=lambda name: -own[name])
    shown, rest = slowest[:_MOST_BARS], slowest[_MOST_BARS:]
    whole = sum(own.values()) or 1.0
    widths = [own[name] for name in shown]
    ax.barh([labels[name] for name in shown], widths, color=_BLUE)
    ax.invert_yaxis()
    for at, name in enumerate(shown):
        ax.annotate(
            f"{own[name] / whole:.1%}",
            (own[name], at),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize="small",
        )
    ax.margins(x=0.12)
    ax.set_xlabel("own time, ms" + (", without the tracer's" if corrected else ""))
    title = f"{whole:,.1f} ms in {len(own)} modules"
    if rest:
        title += f"; {len(rest)} more take {sum(own[n] for n in rest) / whole:.1%}"
    ax.set_title(title, fontsize="medium")
    ax.spines[["top", "right"]].set_visible(False)


def _memory(rec: Recording, costs: Costs, ax: Axes) -> None:
    """Bytes of live activations over time, and the call at the peak."""
    times = [sample.time_ns / 1e6 for sample in rec.live]
    sizes = [sample.activations for sample in rec.live]
    ax.step([0.0, *times], [0, *sizes], where="post", color=_BLUE)
    ax.fill_between([0.0, *times], [0, *sizes], step="post", color=_BLUE, alpha=0.2)
    at = max(range(len(sizes)), key=sizes.__getitem__)
    call = rec.live[at].call
    where = "between modules" if call is None else f"in {_label(rec.calls[call])}"
    ax.plot([times[at]], [sizes[at]], "o", color=_ORANGE)
    late = times[at] > (times[-1] + times[0]) / 2
    ax.annotate(
        f"peak {words.scaled(sizes[at], 'B')} {where}",
        (times[at], sizes[at]),
        xytext=(-8 if late else 8, 4),
        textcoords="offset points",
        ha="right" if late else "left",
    )
    ax.margins(y=0.15)
    ax.set_ylim(bottom=0)
    ax.yaxis.set_major_formatter(lambda value, _: words.scaled(value, "B"))
    ax.set_xlabel("ms")
    ax.set_ylabel("live activations")
    ax.spines[["top", "right"]].set_visible(False)


def _roofline(rec: Recording, costs: Costs, ax: Axes) -> None:
    """Innermost modules: FLOPs a byte against FLOP/s. The roof is the best that this
    trace reached itself, since what the machine could reach is not known."""
    parents = {call.parent for call in rec.calls}
    inner = [call for call in rec.calls if call.index not in parents]
    timed = [(call, costs.calls[call.index]) for call in inner]
    points = [(call, cost) for call, cost in timed if cost.flops and cost.time_ns]
    if not points:
        raise UsageError(
            "plot('roofline'): no module of this trace has FLOPs that torch counts "
            "(matrix products and convolutions)."
        )
    points.sort(key=lambda point: point[0].type)
    for at, (kind, group) in enumerate(groupby(points, key=lambda p: p[0].type)):
        found = [cost for _, cost in group]
        ax.scatter(
            [_known(cost.intensity) for cost in found],
            [_known(cost.flops_per_second) for cost in found],
            s=18,
            alpha=0.7,
            color=f"C{at % 10}",
            label=kind,
        )
    moved = max(cost.bytes_per_second or 0.0 for _, cost in timed)
    _roof([cost for _, cost in points], moved, ax)
    longest = sorted(points, key=lambda point: -point[1].time_ns)[:3]
    for call, cost in longest:
        ax.annotate(
            _label(call, 24),
            (_known(cost.intensity), _known(cost.flops_per_second)),
            xytext=(0, -11),
            textcoords="offset points",
            ha="center",
            fontsize="x-small",
        )
    ax.set(xscale="log", yscale="log")
    ax.set_xlabel("FLOPs a byte moved")
    ax.set_ylabel("FLOP/s")
    ax.yaxis.set_major_formatter(lambda value, _: words.scaled(value, ""))
    ax.legend(frameon=False, fontsize="small", loc="lower right")
    ax.spines[["top", "right"]].set_visible(False)


def _roof(found: list[CallCost], moved: float, ax: Axes) -> None:
    """Left of the ridge memory bounds a module, right of it arithmetic."""
    best = max(_known(cost.flops_per_second) for cost in found)
    ridge = best / moved
    left = min(_known(cost.intensity) for cost in found) / 2
    right = max(ridge, *(_known(cost.intensity) for cost in found)) * 2
    ax.plot([left, ridge, right], [left * moved, best, best], color=_GREY, zorder=0)
    ax.set_title(
        f"Best of this trace: {words.scaled(best, 'FLOP/s')},"
        f" {words.scaled(moved, 'B/s')}",
        fontsize="medium",
    )


def _known(value: float | None) -> float:
    assert value is not None  # of calls with FLOPs and a time
    return value
