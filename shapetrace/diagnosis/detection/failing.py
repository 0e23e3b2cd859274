"""Which call failed, where the user's code did not catch it."""

from __future__ import annotations

from dataclasses import replace

from shapetrace.lineage import Graph
from shapetrace.lineage.loss_calls import sides
from shapetrace.records import CallError, FunctionCall, ModuleCall
from shapetrace.signatures import is_loss

_SILENT = (
    *("KeyboardInterrupt", "SystemExit", "GeneratorExit", "StopIteration"),
    "Terminated",  # by SIGTERM, under `shapetrace run`
)


def failing(graph: Graph) -> tuple[FunctionCall | None, ModuleCall | None]:
    """The function that raised, or the innermost module when plain Python did."""
    rec = graph.rec
    if rec.error is not None and rec.error.type in _SILENT:
        return None, None
    asserted = _asserted(graph)
    if asserted is not None:
        return asserted, None
    unlike = _unlike_in_backward(graph)
    if unlike is not None:
        return unlike, None
    ids = {rec.error.id} if rec.error is not None else None
    for call in rec.functions:
        if call.error is None or call.error.type in _SILENT:
            continue
        if call.name == "_assert":  # the user's own check, not a function that failed
            continue
        if ids is not None:
            if call.error.id in ids:
                return call, None
        elif _left_the_modules(graph, call):
            return call, None
    failed = [
        module
        for module in rec.calls
        if module.error is not None
        and module.error.type not in _SILENT
        and (module.error.id in ids if ids is not None else _reached_top(graph, module))
    ]
    if failed:
        return None, max(failed, key=lambda module: module.depth)
    return None, None


def _asserted(graph: Graph) -> FunctionCall | None:
    """The loss or lookup whose index broke a kernel on an accelerator: the assert comes
    up in some later call, but the span of its indices was copied before the launch."""
    rec = graph.rec
    errors = [rec.error, *(call.error for call in rec.functions)]
    error = next((e for e in errors if e and _broke_the_device(e)), None)
    if error is None:
        return None
    for call in rec.functions:
        message = _beyond(graph, call)
        if message:
            return replace(call, error=CallError("IndexError", message, error.id))
    return None


def _broke_the_device(error: CallError) -> bool:
    """Whether a kernel may have: its assert, or what a library says later."""
    return "device-side assert" in error.message or error.message.startswith(
        ("CUDA error", "cuDNN error", "CUDA driver error")
    )


def _beyond(graph: Graph, call: FunctionCall) -> str:
    """What PyTorch says on a processor where a call's index is out of range."""
    ranges = graph.rec.value_ranges
    if call.name.startswith("embedding") and len(call.inputs) > 1:
        index, weight = call.inputs[:2]
        low, high = ranges.get(index.id, (0, 0))
        beyond = low < 0 or high >= weight.shape[0]
        return "index out of range in self" if beyond else ""
    prediction, target = sides(graph, call) if is_loss(call.name) else (None, None)
    if prediction is None or target is None or len(prediction.shape) < 2:
        return ""
    low, high = ranges.get(target.id, (0, 0))
    ignored = call.kwargs.get("ignore_index", -100)
    beyond = high >= prediction.shape[1] or low < min(0, ignored)
    return f"Target {high} is out of bounds." if beyond else ""


def _unlike_in_backward(graph: Graph) -> FunctionCall | None:
    """The loss whose target is of another type than its prediction, which some losses
    take and their backward does not. That says what the types are, and not of what."""
    rec = graph.rec
    if rec.error is None or not rec.error.message.startswith("Found dtype"):
        return None
    ended = [call for call in rec.functions if call.error is not None]
    if not ended or ended[-1].name != "backward":
        return None
    for call in reversed(rec.functions[: ended[-1].index]):
        prediction, target = sides(graph, call) if is_loss(call.name) else (None, None)
        if prediction is None or target is None or prediction.dtype == target.dtype:
            continue
        return replace(call, error=rec.error)
    return None


def _left_the_modules(graph: Graph, call: FunctionCall) -> bool:
    """Whether an error went on to the user's code, through every module around it."""
    module = graph.module_of(call)
    return module is None or (
        module.error is not None
        and call.error is not None
        and module.error.id == call.error.id
        and _reached_top(graph, module)
    )


def _reached_top(graph: Graph, module: ModuleCall) -> bool:
    while module.parent is not None:
        above = graph.rec.calls[module.parent]
        if above.error is None:
            return False
        module = above
    return True
