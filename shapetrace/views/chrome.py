"""The trace-event format, which Perfetto, speedscope and chrome://tracing open.

Modules and functions are complete slices (`"ph": "X"`), nested by time on one line a
thread; bytes of live activations are a counter. Times are microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from shapetrace.errors import UsageError
from shapetrace.records import FunctionCall, ModuleCall, Recording, TensorRef
from shapetrace.views import words

Event = dict[str, Any]
_PROCESS = 1


def dumps(rec: Recording) -> str:
    """The trace as JSON. Raises `UsageError` where no times were taken."""
    if not rec.has_timing:
        raise UsageError(
            "to_chrome_trace() draws a time axis, and this trace has no times: leave "
            "timing=False out of trace()."
        )
    document = {"traceEvents": events(rec), "displayTimeUnit": "ms"}
    return json.dumps(document, separators=(",", ":"), allow_nan=False)


def events(rec: Recording) -> list[Event]:
    """All events, the outer slice before the inner where both begin together."""
    threads = {0: 0}
    for call in rec.calls:
        threads.setdefault(call.thread, len(threads))
    made = [_named("process_name", 0, "shapetrace")]
    for thread, number in threads.items():
        name = f"thread {number}" if thread else "traced thread"
        made.append(_named("thread_name", number, name))
    slices = [_module(call, threads[call.thread]) for call in rec.calls]
    slices += [_function(call) for call in rec.functions]
    slices.sort(key=lambda one: (one["tid"], one["ts"], -one["dur"]))
    made += slices
    for sample in rec.live:
        counter = _event("C", "live activations", sample.time_ns, 0)
        made.append(counter | {"args": {"bytes": sample.activations}})
    return made


def _module(call: ModuleCall, number: int) -> Event:
    label = f"{call.name} ({call.type})" if call.name else call.type
    args = _tensors(call) | {"call": call.index, "self_ms": call.self_ns / 1e6}
    if call.recomputed:
        args["recomputed"] = True
    made = _event("X", label, call.start_ns, number)
    return made | {"dur": call.duration_ns / 1e3, "cat": "module", "args": args}


def _function(call: FunctionCall) -> Event:
    made = _event("X", call.name, call.start_ns, 0)
    args = _tensors(call)
    return made | {"dur": call.duration_ns / 1e3, "cat": "function", "args": args}


def _tensors(call: ModuleCall | FunctionCall) -> Event:
    args: Event = {"inputs": _shapes(call.inputs)}
    if call.outputs is not None:
        args["outputs"] = _shapes(call.outputs)
    if call.source is not None:
        args["source"] = str(call.source)
    if call.error is not None:
        args["error"] = str(call.error)
    return args


def _shapes(tensors: Sequence[TensorRef]) -> list[str]:
    return [
        f"{one.path}: {words.shape(one.shape, 'x')} {words.dtype(one.dtype)}"
        for one in tensors
    ]


def _event(phase: str, name: str, time_ns: int, number: int) -> Event:
    return {
        "ph": phase,
        "name": name,
        "ts": time_ns / 1e3,
        "pid": _PROCESS,
        "tid": number,
    }


def _named(what: str, number: int, name: str) -> Event:
    return _event("M", what, 0, number) | {"args": {"name": name}}
