"""Every column of every view, in the order in which they stand.

A new column is one entry of `COLUMNS`.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

from shapetrace.views import words
from shapetrace.views.columns import values as get
from shapetrace.views.columns.column import Column, Context, always

CALL, GROUP, FUNCTION = (frozenset({name}) for name in ("call", "group", "function"))
ALL = CALL | GROUP | FUNCTION
#: kinds of rows: what is measured of functions too, and of rounds that repeat
SHAPED = frozenset({"call", "function"})
SUMMED = frozenset({"call", "pattern"})
TIMED = SUMMED | {"function", "more"}


def _timed(context: Context) -> bool:
    return context.rec.has_timing


def _has(name: str) -> Callable[[Context], bool]:
    """Whether an option of the trace has taken the measure."""
    return lambda context: name in context.filled


def _tells(name: str) -> Callable[[Context], bool]:
    return lambda context: name in context.telling


def _spread(context: Context) -> bool:
    return bool(context.spread)


def _timed_spread(context: Context) -> bool:
    return _timed(context) and _spread(context)


def _rated(context: Context) -> bool:
    return any(call.time_ns for call in context.costs.calls)


def _corrected(context: Context) -> bool:
    return context.costs.corrected_ns is not None


COLUMNS: tuple[Column, ...] = (
    # who
    Column("call", "call", get.first("index"), dtype="Int64", frames=CALL),
    Column("index", "index", get.first("index"), dtype="Int64", kinds=SHAPED,
           frames=FUNCTION),
    Column("parent", "parent", get.first("parent"), dtype="Int64", kinds=SHAPED,
           frames=CALL | FUNCTION),
    Column("depth", "depth", get.depth, dtype="Int64", kinds=SHAPED, frames=CALL),
    Column("module", "in module", get.module, kinds=SHAPED, frames=FUNCTION),
    Column("name", "name", get.first("name"), kinds=SHAPED, frames=ALL),
    Column("qualname", "function", get.first("qualname"), kinds=frozenset({"function"}),
           frames=FUNCTION),
    Column("type", "type", get.type_of, kinds=SHAPED, frames=CALL | GROUP,
           tables=always, leaves=41, soft=20, floor=9),
    Column("calls", "calls", get.each(lambda group: len(group.calls)), get.count,
           dtype="Int64", kinds=TIMED, frames=GROUP, right=True),
    # what went through
    Column("input_shapes", "input", get.shapes("inputs"), get.shapes_text,
           dtype="object", kinds=SHAPED, frames=ALL, tables=always, leaves=43,
           narrow=get.shapes_narrow, soft=22, floor=9, also=("input", "input_size")),
    Column("output_shapes", "output", get.shapes("outputs"), get.shapes_text,
           dtype="object", kinds=SHAPED, frames=ALL, tables=always, leaves=0,
           narrow=get.shapes_narrow, soft=22, floor=9, also=("output", "output_size")),
    Column("input_dtypes", "input dtype", get.dtypes("inputs"), get.joined,
           dtype="object", kinds=SHAPED, frames=CALL | FUNCTION),
    Column("output_dtypes", "output dtype", get.dtypes("outputs"), get.joined,
           dtype="object", kinds=SHAPED, frames=CALL | FUNCTION),
    Column("dtype", "dtype", get.change(words.dtypes), kinds=SHAPED,
           tables=lambda context: len(context.dtypes) > 1, leaves=21),
    Column("device", "device", get.each(get.devices), kinds=SHAPED,
           frames=CALL | FUNCTION),
    Column("devices", "device", get.change(words.devices), kinds=SHAPED,
           tables=lambda context: len(context.devices) > 1, leaves=40),
    # how it is set
    Column("kernel", "kernel", get.attribute("kernel_size"), get.sizes,
           also=("kernel_size",)),
    Column("stride", "stride", get.attribute("stride"), get.sizes),
    Column("padding", "padding", get.attribute("padding"), get.sizes),
    Column("dilation", "dilation", get.attribute("dilation"), get.sizes),
    Column("groups", "groups", get.attribute("groups"), get.sizes),
    # how long it took
    Column("start_ms", "start ms", get.milliseconds("start_ns"), writer=get.times,
           dtype="float64", kinds=SHAPED, frames=CALL | FUNCTION, when=_timed,
           right=True),
    Column("total_ms", "total ms", get.milliseconds("duration_ns"), writer=get.times,
           dtype="float64", kinds=TIMED, frames=ALL, when=_timed, tables=_timed,
           right=True, leaves=42),
    Column("self_ms", "self ms", get.milliseconds("self_ns"), writer=get.times,
           dtype="float64", kinds=SUMMED, frames=CALL | GROUP, when=_timed,
           tables=_timed, right=True, leaves=10),
    Column("mean_ms", "mean ms", get.mean, writer=get.times, dtype="float64",
           kinds=SUMMED, frames=GROUP, when=_timed, right=True),
    Column("share", "share", get.share, get.percent, dtype="float64",
           kinds=SUMMED | {"more"}, frames=CALL | GROUP, when=_timed, tables=_timed,
           right=True, leaves=20),
    Column("first_ms", "first ms", get.spread("first"), writer=get.times,
           dtype="float64", frames=GROUP, when=_timed_spread, right=True, leaves=22),
    Column("min_ms", "min ms", get.spread("min"), writer=get.times,
           dtype="float64", frames=GROUP, when=_timed_spread, right=True),
    Column("median_ms", "median ms", get.spread("median"), writer=get.times,
           dtype="float64", frames=GROUP, when=_timed_spread, right=True),
    Column("p95_ms", "p95 ms", get.spread("p95"), writer=get.times,
           dtype="float64", frames=GROUP, when=_timed_spread, right=True),
    Column("max_ms", "max ms", get.spread("max"), writer=get.times,
           dtype="float64", frames=GROUP, when=_timed_spread, right=True),
    Column("varying", "varying", get.varying, frames=GROUP, when=_spread),
    Column("device_ms", "device ms", get.milliseconds("device_ns"), writer=get.times,
           dtype="float64", kinds=SUMMED, frames=CALL | GROUP, right=True, leaves=48,
           when=_has("device_ns"), tables=_tells("device_ns")),
    Column("backward_ms", "bwd ms", get.milliseconds("backward_ns"), writer=get.times,
           dtype="float64", kinds=SUMMED, frames=CALL | GROUP, right=True, leaves=47,
           when=_has("backward_ns"), tables=_tells("backward_ns")),
    Column("recompute_ms", "redo ms", get.milliseconds("recompute_ns"),
           writer=get.times, dtype="float64", kinds=SUMMED, frames=CALL | GROUP,
           right=True, leaves=46, when=_has("recompute_ns"),
           tables=_tells("recompute_ns")),
    # what it holds
    Column("saved_bytes", "saved", get.held("saved_bytes"), get.scaled("B"),
           dtype="Int64", kinds=SUMMED, frames=CALL | GROUP, right=True, leaves=45,
           when=_has("saved_bytes"), tables=_tells("saved_bytes")),
    Column("allocated_bytes", "alloc", get.held("allocated_bytes"), get.scaled("B"),
           dtype="Int64", kinds=SUMMED, frames=CALL | GROUP, right=True, leaves=44,
           when=_has("allocated_bytes"), tables=_tells("allocated_bytes")),
    Column("parameters", "own params", get.own_parameters, get.count, dtype="Int64",
           frames=CALL | GROUP, right=True),
    Column("params", "params", get.parameters, get.count, dtype="Int64", tables=always,
           right=True, leaves=30, also=("num_params",)),
    Column("params_share", "params %", get.parameters_share, get.percent,
           dtype="float64", right=True, also=("params_percent", "params %")),
    Column("trainable", "trainable", get.trainable),
    # what it costs
    Column("flops", "FLOPs", get.function_cost("function_flops", "flops"),
           get.scaled(""), dtype="Int64", kinds=SUMMED | {"function"}, frames=ALL,
           costly=True, right=True),
    Column("backward_flops", "bwd FLOPs",
           get.function_cost("function_backward_flops", "backward_flops"),
           get.scaled(""), dtype="Int64", kinds=SUMMED | {"function"}, frames=ALL,
           costly=True, right=True),
    Column("mult_adds", "mult-adds", get.cost("flops", 2), get.scaled(""),
           dtype="float64", kinds=SUMMED, right=True),
    Column("moved_bytes", "moved", get.cost("moved_bytes"), get.scaled("B"),
           dtype="Int64", kinds=SUMMED, frames=CALL | GROUP, costly=True, right=True),
    Column("output_bytes", "activations", get.cost("output_bytes"), get.scaled("B"),
           dtype="Int64", kinds=SUMMED, frames=CALL | GROUP, costly=True, right=True,
           also=("memory",)),
    Column("parameter_bytes", "param bytes", get.first_cost("parameter_bytes"),
           get.scaled("B"), dtype="Int64", frames=CALL | GROUP, costly=True,
           right=True),
    Column("buffer_bytes", "buffer bytes", get.first_cost("buffer_bytes"),
           get.scaled("B"), dtype="Int64", frames=CALL | GROUP, costly=True,
           right=True),
    Column("intensity", "FLOP/B", get.ratio("flops", "moved_bytes"), get.scaled(""),
           dtype="float64", kinds=SUMMED, frames=CALL | GROUP, costly=True, right=True),
    Column("flops_per_second", "FLOP/s", get.ratio("flops", "time_ns", 1e9),
           get.rate, dtype="float64", kinds=SUMMED, frames=CALL | GROUP,
           costly=True, when=_rated, right=True),
    Column("corrected_ms", "corrected ms", get.cost("corrected_ns", 1e6),
           writer=get.times, dtype="float64", kinds=SUMMED, frames=CALL | GROUP,
           costly=True, when=_corrected, right=True),
    Column("corrected_self_ms", "corrected self",
           get.cost("corrected_self_ns", 1e6), writer=get.times, dtype="float64",
           kinds=SUMMED, frames=CALL | GROUP,
           costly=True, when=_corrected, right=True),
    Column("own_ms", "self ms", get.own_ms, writer=get.times, dtype="float64",
           kinds=SUMMED, when=_timed, right=True),
    Column("net_ms", "total ms", get.net_ms, writer=get.times, dtype="float64",
           kinds=SUMMED, when=_timed, right=True),
    Column("own_share", "self", get.own_share, get.percent, dtype="float64",
           kinds=SUMMED, when=_timed, right=True),
    Column("uncounted", "not counted", get.uncounted, kinds=SUMMED,
           frames=CALL | GROUP, costly=True),
    # how it went
    Column("direct", "direct", get.first("direct"), dtype="bool",
           kinds=frozenset({"function"}), frames=FUNCTION),
    Column("status", "result", get.each(attrgetter("status")), kinds=SHAPED,
           frames=ALL),
    Column("state", "status", get.each(get.state), lambda value: value or "ok",
           kinds=SHAPED, tables=always, leaves=0, soft=26, floor=15),
    Column("error", "error", get.each(lambda group: words.error(group.first.error)),
           kinds=SHAPED, frames=CALL | FUNCTION),
    Column("source", "called at", get.place, kinds=SHAPED, frames=CALL | FUNCTION,
           also=("called at",)),
    Column("finding", "finding", get.each(get.finding), kinds=SHAPED, frames=ALL),
)  # fmt: skip
