"""Where a failed call stands; and all that is said of it when we ourselves fail."""

from __future__ import annotations

from shapetrace.lineage import Call, Graph
from shapetrace.records import Diagnosis, FunctionCall
from shapetrace.signatures import is_loss


def where_of(graph: Graph, call: FunctionCall) -> str:
    """Where a call stands, as the contract spells it."""
    if is_loss(call.name):
        return f"loss:{call.name}"
    layer = graph.layer_of(call)
    return f"module:{layer.name}" if layer is not None else f"function:{call.name}"


def unexplained(graph: Graph, failed: Call, fault: Exception) -> Diagnosis:
    """What failed and where, and that shapetrace could not work out why."""
    if isinstance(failed, FunctionCall):
        where, inner = where_of(graph, failed), graph.module_of(failed)
        name = failed.name
    else:
        where, inner = f"module:{failed.name}", failed
        name = graph.spoken(failed)
    shapes = ", ".join(str(ref.shape) for ref in failed.inputs) or "no tensor"
    said = failed.error.message if failed.error is not None else ""
    return Diagnosis(
        code="failure",
        severity="error",
        message=(
            f"`{name}` failed on {shapes}: {said} (shapetrace could not work "
            f"out why: {type(fault).__name__}: {fault})"
        ),
        where=where,
        module=inner.name if inner is not None else None,
        source=failed.source,
        function=failed.index if isinstance(failed, FunctionCall) else None,
        call=inner.index if inner is not None else None,
    )
