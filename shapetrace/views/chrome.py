"""The trace-event format, which Perfetto, speedscope and chrome://tracing open.

Modules, functions and ranges are complete slices (`"ph": "X"`), nested by time on one
line a thread; bytes that are held are a counter. Times are microseconds. An event is
written as text at once, and what recurs is written once: a trace of 100,000 calls is
half a million shapes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from shapetrace.errors import UsageError
from shapetrace.records import (
    FunctionCall,
    LiveBytes,
    ModuleCall,
    Range,
    Recording,
    Source,
    TensorRef,
)
from shapetrace.records.garbage import uncollected
from shapetrace.views import words

_PROCESS = 1
#: thread, start and end in nanoseconds, the event's text
Slice = tuple[int, int, int, str]


@uncollected()
def dumps(rec: Recording) -> str:
    """The trace as JSON. Raises `UsageError` where no times were taken."""
    if not rec.has_timing:
        raise UsageError(
            "to_chrome_trace() draws a time axis, and this trace has no times: leave "
            "timing=False out of trace()."
        )
    return f'{{"traceEvents":[{",".join(_events(rec))}],"displayTimeUnit":"ms"}}'


def _events(rec: Recording) -> list[str]:
    """All events, the outer slice before the inner where both begin together."""
    threads = {0: 0}
    for call in rec.calls:
        threads.setdefault(call.thread, len(threads))
    made = [_named("process_name", 0, "shapetrace")]
    for thread, number in threads.items():
        name = f"thread {number}" if thread else "traced thread"
        made.append(_named("thread_name", number, name))
    writer = _Writer()
    slices = [writer.module(call, threads[call.thread]) for call in rec.calls]
    slices += [writer.function(call) for call in rec.functions]
    slices += [writer.range(one) for one in rec.ranges]
    slices.sort(key=lambda one: (one[0], one[1], -one[2]))
    made += [text for _, _, _, text in slices]
    made += map(_counter, rec.live)
    return made


class _Writer:
    """Writes slices."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._tensors: dict[tuple[Any, ...], str] = {}
        self._places: dict[int, str] = {}

    def module(self, call: ModuleCall, number: int) -> Slice:
        name = f"{call.name} ({call.type})" if call.name else call.type
        args = f'{self._args(call)},"call":{call.index},"self_ms":{call.self_ns / 1e6}'
        if call.recomputed:
            args += ',"recomputed":true'
        return self._slice(call, number, name, "module", args)

    def function(self, call: FunctionCall) -> Slice:
        return self._slice(call, 0, call.name, "function", self._args(call))

    def range(self, one: Range) -> Slice:
        place = self._place(one.source)
        return self._slice(one, 0, one.name, "range", place.removeprefix(","))

    def _slice(
        self,
        one: ModuleCall | FunctionCall | Range,
        number: int,
        name: str,
        kind: str,
        args: str,
    ) -> Slice:
        start, time = one.start_ns, one.duration_ns
        text = (
            f'{{"ph":"X","name":{self._text(name)},"ts":{start / 1e3},"pid":{_PROCESS},'
            f'"tid":{number},"dur":{time / 1e3},"cat":"{kind}","args":{{{args}}}}}'
        )
        return number, start, time, text

    def _args(self, call: ModuleCall | FunctionCall) -> str:
        args = f'"inputs":[{self._shapes(call.inputs)}]'
        if call.outputs is not None:
            args += f',"outputs":[{self._shapes(call.outputs)}]'
        args += self._place(call.source)
        if call.error is not None:
            said = f"{call.error.type}: {call.error.message}"
            args += f',"error":{self._text(said)}'
        return args

    def _place(self, source: Source | None) -> str:
        if source is None:
            return ""
        if id(source) not in self._places:  # few places have many calls
            self._places[id(source)] = f',"source":{json.dumps(str(source))}'
        return self._places[id(source)]

    def _shapes(self, tensors: Sequence[TensorRef]) -> str:
        known = self._tensors
        texts = []
        for one in tensors:
            key = (one.path, one.shape, one.dtype)
            text = known.get(key)
            if text is None:
                shape = words.shape(one.shape, "x")
                said = f"{one.path}: {shape} {words.dtype(one.dtype)}"
                text = known[key] = json.dumps(said)
            texts.append(text)
        return ",".join(texts)

    def _text(self, name: str) -> str:
        text = self._texts.get(name)
        if text is None:
            text = self._texts[name] = json.dumps(name)
        return text


def _counter(sample: LiveBytes) -> str:
    kinds = ("activations", "gradients", "optimizer", "backward")
    return json.dumps(
        {
            "ph": "C",
            "name": "bytes held",
            "ts": sample.time_ns / 1e3,
            "pid": _PROCESS,
            "tid": 0,
            "args": {kind: getattr(sample, kind) for kind in kinds},
        }
    )


def _named(what: str, number: int, name: str) -> str:
    return json.dumps(
        {
            "ph": "M",
            "name": what,
            "ts": 0,
            "pid": _PROCESS,
            "tid": number,
            "args": {"name": name},
        }
    )
