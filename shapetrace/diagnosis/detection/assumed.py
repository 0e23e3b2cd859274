"""Sizes that a program takes for granted without saying so: PyTorch lets a `squeeze(2)`
of a dimension that is not 1 pass, and fails later."""

from __future__ import annotations

from collections.abc import Iterable

from shapetrace.diagnosis.detection.mismatch import Spot
from shapetrace.lineage import Call
from shapetrace.records import FunctionCall


def assumed(calls: Iterable[Call]) -> list[tuple[Spot, int]]:
    """The dimensions that the squeezes among some calls should have taken, each with
    the size 1 that it would have needed."""
    found = []
    for call in calls:
        if not isinstance(call, FunctionCall) or call.name != "squeeze":
            continue
        if not call.direct or not call.inputs or not call.outputs:
            continue
        shape = call.inputs[0].shape
        if len(call.outputs[0].shape) < len(shape):
            continue
        for dim in _dims(call):
            if -len(shape) <= dim < len(shape) and shape[dim] != 1:
                dim %= len(shape)
                found.append((Spot(call.inputs[0].id, dim, shape[dim]), 1))
    return found


def _dims(call: FunctionCall) -> tuple[int, ...]:
    """The dimensions that a squeeze is told."""
    given = call.kwargs.get("dim", call.args[1] if len(call.args) > 1 else ())
    dims = given if isinstance(given, (tuple, list)) else (given,)
    return tuple(dim for dim in dims if isinstance(dim, int))
