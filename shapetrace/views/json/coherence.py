"""What holds between the fields of a recording: views and analyses rely on it.

Each field by itself is checked where it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

from shapetrace.records import Diagnosis, Recording
from shapetrace.views.json.nested import Damage

#: torch counts no more elements
_MOST = 2**63 - 1


def check_coherence(rec: Recording, findings: Sequence[Diagnosis]) -> None:
    """Raise `Damage` unless all indices lead somewhere, and to what came before."""
    _check_calls(rec)
    _check_functions(rec)
    _check_tensors(rec)
    calls, functions = len(rec.calls), len(rec.functions)
    _within("LiveBytes.call", (live.call for live in rec.live), calls)
    _within("LiveBytes.function", (live.function for live in rec.live), functions)
    _within("Unseen.call", (one.call for one in rec.unseen), calls)
    _within("InFlight.function", (one.function for one in rec.in_flight), functions)
    steps = [step for finding in findings for step in finding.lineage]
    for step in steps:
        if step.dim is not None and not 0 <= step.dim < len(step.shape):
            raise Damage(f"dimension {step.dim} of a shape {step.shape!s:.40}")
    for about in (findings, steps):
        _within("call", (one.call for one in about), calls)
        _within("function", (one.function for one in about), functions)


def _within(name: str, indices: Iterable[int | None], count: int) -> None:
    for index in indices:
        if index is not None and not 0 <= index < count:
            raise Damage(f"{name} {index} of {count}")


def _check_calls(rec: Recording) -> None:
    calls = rec.calls
    for position, call in enumerate(calls):
        if call.index != position:
            raise Damage(f"module call {call.index} in place of {position}")
        if call.name not in rec.modules:
            raise Damage(f"a call of {call.name!r:.40}, which is no module")
        if call.order > call.end_order or min(call.duration_ns, call.order) < 0:
            raise Damage(f"module call {position} ends before it begins")
        depth, parent = 0, call.parent
        if parent is not None:
            if not 0 <= parent < position:
                raise Damage(f"module call {position} inside {parent}")
            depth = calls[parent].depth + 1
        if call.depth != depth:
            raise Damage(f"module call {position} of depth {call.depth}")


def _check_functions(rec: Recording) -> None:
    made: dict[int, int] = {}
    for position, function in enumerate(rec.functions):
        if function.index != position:
            raise Damage(f"function {function.index} in place of {position}")
        if function.duration_ns < 0:
            raise Damage(f"function {position} ends before it begins")
        for ref in function.outputs or ():
            if made.setdefault(ref.id, position) != position:
                raise Damage(f"tensor {ref.id} is made twice")
    _within("FunctionCall.parent", (f.parent for f in rec.functions), len(rec.calls))
    for function in rec.functions:
        for ref in function.inputs:
            maker = made.get(ref.id)
            # a lineage that runs forward in time would not end
            if maker is not None and rec.functions[maker].order >= function.order:
                raise Damage(f"tensor {ref.id} is used before it is made")


def _check_tensors(rec: Recording) -> None:
    shapes = {
        ref.shape
        for calls in (rec.calls, rec.functions)
        for call in calls
        for refs in (call.inputs, call.outputs or ())
        for ref in refs
    }
    if any(size < 0 for shape in shapes for size in shape):
        raise Damage("a dimension of negative size")
    if any(prod(shape) > _MOST for shape in shapes):
        raise Damage("a tensor that nothing holds")
    names = {name for name, info in rec.modules.items() if info.name != name}
    if names:
        raise Damage(f"module {min(names)!r:.40} under another name")
