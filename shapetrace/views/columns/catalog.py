"""Every column of every view, in the order in which they stand.

A new column is one entry of `COLUMNS`.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

from shapetrace.views import words
from shapetrace.views.columns import formatters as write
from shapetrace.views.columns import getters as get
from shapetrace.views.columns import measures
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
    Column("calls", "calls", get.each(lambda group: len(group.calls)), write.count,
           dtype="Int64", kinds=TIMED, frames=GROUP, right=True),
    # what went through
    Column("input_shapes", "input", get.shapes("inputs"), write.shapes_text,
           dtype="object", kinds=SHAPED, frames=ALL, tables=always, leaves=43,
           narrow=write.shapes_narrow, soft=22, floor=9, also=("input", "input_size")),
    Column("output_shapes", "output", get.shapes("outputs"), write.shapes_text,
           dtype="object", kinds=SHAPED, frames=ALL, tables=always, leaves=0,
           narrow=write.shapes_narrow, soft=22, floor=9,
           also=("output", "output_size")),
    Column("input_dtypes", "input dtype", get.dtypes("inputs"), write.joined,
           dtype="object", kinds=SHAPED, frames=CALL | FUNCTION),
    Column("output_dtypes", "output dtype", get.dtypes("outputs"), write.joined,
           dtype="object", kinds=SHAPED, frames=CALL | FUNCTION),
    Column("dtype", "dtype", get.change(words.dtypes), kinds=SHAPED,
           tables=lambda context: len(context.dtypes) > 1, leaves=21),
    Column("device", "device", get.each(get.devices), kinds=SHAPED,
           frames=CALL | FUNCTION),
    Column("devices", "device", get.change(words.devices), kinds=SHAPED,
           tables=lambda context: len(context.devices) > 1, leaves=40),
    # how it is set
    Column("kernel", "kernel", get.attribute("kernel_size"), write.sizes,
           also=("kernel_size",)),
    Column("stride", "stride", get.attribute("stride"), write.sizes),
    Column("padding", "padding", get.attribute("padding"), write.sizes),
    Column("dilation", "dilation", get.attribute("dilation"), write.sizes),
    Column("groups", "groups", get.attribute("groups"), write.sizes),
    # how long it took
    Column("start_ms", "start ms", measures.milliseconds("start_ns"),
           writer=write.times, dtype="float64", kinds=SHAPED, frames=CALL | FUNCTION,
           when=_timed, right=True),
    Column("total_ms", "total ms", measures.milliseconds("duration_ns"),
           writer=write.times, dtype="float64", kinds=TIMED, frames=ALL, when=_timed,
           tables=_timed, right=True, leaves=42),
    Column("self_ms", "self ms", measures.milliseconds("self_ns"), writer=write.times,
           dtype="float64", kinds=SUMMED, frames=CALL | GROUP, when=_timed,
           tables=_timed, right=True, leaves=10),
    Column("mean_ms", "mean ms", measures.mean, writer=write.times, dtype="float64",
           kinds=SUMMED, frames=GROUP, when=_timed, right=True),
    Column("share", "share", measures.share, write.percent, dtype="float64",
           kinds=SUMMED | {"more"}, frames=CALL | GROUP, when=_timed, tables=_timed,
           right=True, leaves=20),
    Column("first_ms", "first ms", measures.spread("first"), writer=write.times,
           dtype="float64", frames=GROUP, when=_timed_spread, right=True, leaves=22),
    Column("min_ms", "min ms", measures.spread("min"), writer=write.times,
           dtype="float64", frames=GROUP, when=_timed_spread, right=True),
    Column("median_ms", "median ms", measures.spread("median"), writer=write.times,
           dtype="float64", frames=GROUP, when=_timed_spread, right=True),
    Column("p95_ms", "p95 ms", measures.spread("p95"), writer=write.times,
           dtype="float64", frames=GROUP, when=_timed_spread, right=True),
    Column("max_ms", "max ms", measures.spread("max"), writer=write.times,
           dtype="float64", frames=GROUP, when=_timed_spread, right=True),
    Column("varying", "varying", get.varying, frames=GROUP, when=_spread),
    Column("device_ms", "device ms", measures.milliseconds("device_ns"),
           writer=write.times, dtype="float64", kinds=SUMMED, frames=CALL | GROUP,
           right=True, leaves=48, when=_has("device_ns"), tables=_tells("device_ns")),
    Column("backward_ms", "bwd ms", measures.milliseconds("backward_ns"),
           writer=write.times, dtype="float64", kinds=SUMMED, frames=CALL | GROUP,
           right=True, leaves=47, when=_has("backward_ns"),
           tables=_tells("backward_ns")),
    Column("recompute_ms", "redo ms", measures.milliseconds("recompute_ns"),
           writer=write.times, dtype="float64", kinds=SUMMED, frames=CALL | GROUP,
           right=True, leaves=46, when=_has("recompute_ns"),
           tables=_tells("recompute_ns")),
    # what it holds
    Column("saved_bytes", "saved", measures.held("saved_bytes"), write.scaled("B"),
           dtype="Int64", kinds=SUMMED, frames=CALL | GROUP, right=True, leaves=45,
           when=_has("saved_bytes"), tables=_tells("saved_bytes")),
    Column("allocated_bytes", "alloc", measures.held("allocated_bytes"),
           write.scaled("B"), dtype="Int64", kinds=SUMMED, frames=CALL | GROUP,
           right=True, leaves=44, when=_has("allocated_bytes"),
           tables=_tells("allocated_bytes")),
    Column("parameters", "own params", measures.own_parameters, write.count,
           dtype="Int64", frames=CALL | GROUP, right=True),
    Column("params", "params", measures.parameters, write.count, dtype="Int64",
           tables=always, right=True, leaves=30, also=("num_params",)),
    Column("params_share", "params %", measures.parameters_share, write.percent,
           dtype="float64", right=True, also=("params_percent", "params %")),
    Column("trainable", "trainable", measures.trainable),
    # what it costs
    Column("flops", "FLOPs", measures.function_cost("function_flops", "flops"),
           write.scaled(""), dtype="Int64", kinds=SUMMED | {"function"}, frames=ALL,
           costly=True, right=True),
    Column("backward_flops", "bwd FLOPs",
           measures.function_cost("function_backward_flops", "backward_flops"),
           write.scaled(""), dtype="Int64", kinds=SUMMED | {"function"}, frames=ALL,
           costly=True, right=True),
    Column("mult_adds", "mult-adds", measures.cost("flops", 2), write.scaled(""),
           dtype="float64", kinds=SUMMED, right=True),
    Column("moved_bytes", "moved",
           measures.function_cost("function_moved_bytes", "moved_bytes"),
           write.scaled("B"), dtype="Int64", kinds=SUMMED | {"function"}, frames=ALL,
           costly=True, right=True),
    Column("output_bytes", "activations", measures.cost("output_bytes"),
           write.scaled("B"), dtype="Int64", kinds=SUMMED, frames=CALL | GROUP,
           costly=True, right=True, also=("memory",)),
    Column("parameter_bytes", "param bytes", measures.first_cost("parameter_bytes"),
           write.scaled("B"), dtype="Int64", frames=CALL | GROUP, costly=True,
           right=True),
    Column("buffer_bytes", "buffer bytes", measures.first_cost("buffer_bytes"),
           write.scaled("B"), dtype="Int64", frames=CALL | GROUP, costly=True,
           right=True),
    Column("intensity", "FLOP/B", measures.ratio("flops", "moved_bytes"),
           write.scaled(""), dtype="float64", kinds=SUMMED, frames=CALL | GROUP,
           costly=True, right=True),
    Column("flops_per_second", "FLOP/s", measures.ratio("flops", "time_ns", 1e9),
           write.rate, dtype="float64", kinds=SUMMED, frames=CALL | GROUP,
           costly=True, when=_rated, right=True),
    Column("corrected_ms", "corrected ms", measures.cost("corrected_ns", 1e6),
           writer=write.times, dtype="float64", kinds=SUMMED, frames=CALL | GROUP,
           costly=True, when=_corrected, right=True),
    Column("corrected_self_ms", "corrected self",
           measures.cost("corrected_self_ns", 1e6), writer=write.times, dtype="float64",
           kinds=SUMMED, frames=CALL | GROUP,
           costly=True, when=_corrected, right=True),
    Column("own_ms", "self ms", measures.own_ms, writer=write.times, dtype="float64",
           kinds=SUMMED, when=_timed, right=True),
    Column("own_device_ms", "device self", measures.cost("own_device_ns", 1e6),
           writer=write.times, dtype="float64", kinds=SUMMED, when=_has("device_ns"),
           right=True),
    Column("net_device_ms", "device ms", measures.cost("device_ns", 1e6),
           writer=write.times, dtype="float64", kinds=SUMMED, when=_has("device_ns"),
           right=True),
    Column("own_device_share", "device", measures.own_device_share, write.percent,
           dtype="float64", kinds=SUMMED, when=_has("device_ns"), right=True),
    Column("net_ms", "total ms", measures.net_ms, writer=write.times, dtype="float64",
           kinds=SUMMED, when=_timed, right=True),
    Column("net_first_ms", "first ms", measures.spread("first", net=True),
           writer=write.times, dtype="float64", when=_timed_spread, right=True),
    Column("net_median_ms", "median ms", measures.spread("median", net=True),
           writer=write.times, dtype="float64", when=_timed_spread, right=True),
    Column("net_p95_ms", "p95 ms", measures.spread("p95", net=True),
           writer=write.times, dtype="float64", when=_timed_spread, right=True),
    Column("own_share", "self", measures.own_share, write.percent, dtype="float64",
           kinds=SUMMED, when=_timed, right=True),
    Column("uncounted", "not counted", measures.uncounted, kinds=SUMMED,
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
