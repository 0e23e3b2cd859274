"""A call that ran out of memory: what it asked for, and what was held then. Nobody is
blamed: a smaller batch may be all that it takes."""

from __future__ import annotations

import re
from math import prod

import torch

from shapetrace.diagnosis.detection.mismatch import Mismatch
from shapetrace.diagnosis.words.operand_rows import operand_rows
from shapetrace.diagnosis.words.unexplained import where_of
from shapetrace.lineage import Graph
from shapetrace.records import Diagnosis, FunctionCall
from shapetrace.records.printable import in_bytes
from shapetrace.signatures import is_elementwise
from shapetrace.signatures.refusal import Refused, of_torch

#: of accelerators, and of the processor
_ASKED = re.compile(r"[Tt]ried to allocate ([\d.]+ (?:[KMGT]iB|bytes))")
_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "bytes": 1}


def out_of_memory(graph: Graph, call: FunctionCall) -> Diagnosis | None:
    """None where another error was raised."""
    error = call.error
    asked = _ASKED.search(error.message) if error is not None else None
    if error is None or asked is None:
        return None
    number, unit = asked[1].split()
    layer, inner = graph.layer_of(call), graph.module_of(call)
    name = call.name if layer is None else graph.spoken(layer)
    more = in_bytes(float(number) * _UNITS[unit])
    return Diagnosis(
        code="failure",
        severity="error",
        message=f"`{name}` ran out of memory: it asked for {more} more.",
        where=where_of(graph, call),
        module=inner.name if inner is not None else None,
        source=call.source,
        function=call.index if call.index >= 0 else None,
        call=inner.index if inner is not None else None,
        operands=operand_rows(graph, Mismatch("other", call, layer, loss=False)),
        remarks=(*_stretched(call), *_held(graph, call)),
    )


def _stretched(call: FunctionCall) -> tuple[str, ...]:
    """Whether two small operands were to make a large one."""
    shapes = [ref.shape for ref in call.inputs]
    if not is_elementwise(call.name) or len(shapes) < 2:
        return ()
    try:
        made = tuple(of_torch(torch.broadcast_shapes, *shapes))
    except Refused:
        return ()
    if prod(made) <= max(map(prod, shapes)):
        return ()
    told = " and ".join(map(str, shapes))
    return (f"Its operands {told} are stretched to {made}: each meets every other.",)


def _held(graph: Graph, call: FunctionCall) -> tuple[str, ...]:
    rec = graph.rec
    if not rec.live:
        return (
            "trace(model, memory=True) tells what was held then, and with a smaller "
            "batch, by t.memory_for(n), which one fits.",
        )
    # what comes later was let go of as the exception left
    before = [one for one in rec.live if one.time_ns <= call.start_ns]
    last = before[-1] if before else rec.live[0]
    kinds = ("activations", "gradients", "optimizer", "backward")
    held = [
        f"{in_bytes(getattr(last, kind))} {kind}"
        for kind in kinds
        if getattr(last, kind)
    ]
    if not held:
        return ()
    return (
        f"Held then, beside parameters: {', '.join(held)}; t.memory() tells by module.",
    )
