"""Modules that returned no plain tensor, or one where more was expected."""

from __future__ import annotations

import re

from shapetrace.diagnosis.detection.mismatch import is_part
from shapetrace.diagnosis.sites import culprit_of_module
from shapetrace.lineage import Graph
from shapetrace.records import Culprit, Fix, ModuleCall
from shapetrace.source.line import find, suffixed

#: how Python and torch name the type that was no tensor
_TYPES = re.compile(
    r"'([\w.]+)' object|must be Tensor, not ([\w.]+)|: '([\w.]+)' and '([\w.]+)'"
    r"|^(\w+) ind(?:ex|ices)|got \(([\w.]+),|non-iterable ([\w.]+) object"
)


def children(graph: Graph, module: ModuleCall | None) -> list[ModuleCall]:
    """The calls that a forward made, or those outside of every module, newest first."""
    parent = module.index if module is not None else None
    found = [c for c in graph.rec.calls if c.parent == parent and c.error is None]
    return sorted(found, key=lambda call: -call.end_order)


def handed_on(graph: Graph, module: ModuleCall) -> ModuleCall | None:
    """The call whose container of tensors a module was given whole as an argument."""
    inside = {ref.id for ref in module.inputs if is_part(ref.path)}
    if not inside:
        return None
    for call in sorted(graph.rec.calls, key=lambda call: -call.end_order):
        if call.outputs and call.output_type != "Tensor":
            if inside <= {ref.id for ref in call.outputs}:
                return call
    return None


def of_type(
    graph: Graph, module: ModuleCall | None, message: str
) -> tuple[ModuleCall, str] | None:
    """The newest call in a forward that returned what the error's text names."""
    named = [part for found in _TYPES.findall(message) for part in found if part]
    types = {name.rpartition(".")[2] for name in named}
    if types != {"Tensor"}:
        types -= {"Tensor"}
    for call in children(graph, module):
        kind = call.output_type.partition("(")[0]
        if kind in types or "str" in types and _has_keys(kind):
            return call, kind
    return None


def _has_keys(kind: str) -> bool:
    return kind not in ("Tensor", "tuple", "list", "NoneType", "")


def returned(graph: Graph, module: ModuleCall | None, message: str) -> list[Culprit]:
    """Whoever returned what the error's text names, as a culprit."""
    found = of_type(graph, module, message)
    if found is None:
        return []
    call, kind = found
    reason = f"returns {call.output_type}, not one tensor"
    if kind == "NoneType":
        reason = "returns None, as a forward without a return does"
    elif kind == "Tensor":
        shape = call.outputs[0].shape if call.outputs else ()
        reason = f"returns one tensor {shape}, nothing around it"
    elif _has_keys(kind):
        reason = f"returns {call.output_type}: to unpack it gives its keys"
        if "not str" not in message:
            reason = f"returns {call.output_type}, not one tensor"
    info = graph.rec.modules.get(call.name)
    if info is not None and info.attributes.get("return_indices"):
        reason += " (return_indices=True)"
    return [culprit_of_module(call, reason=reason)]


def whole_instead(
    graph: Graph, module: ModuleCall | None, message: str
) -> tuple[Fix, ...]:
    """The first tensor of a container, where it was returned: no trial shows what
    plain Python does with it."""
    found = of_type(graph, module, message)
    if found is None or not found[0].outputs or found[1] in ("Tensor", "NoneType"):
        return ()
    call = found[0]
    line = find(call.source)
    assert call.outputs is not None
    first = call.outputs[0]
    if line is None:
        return ()
    access = first.path.removeprefix("output")
    text = line.around(suffixed(line.code, line.tree, "{}" + access))
    detail = f"goes on with {access} of it, a tensor {first.shape}"
    return (Fix(text, "untried", detail, line.source),)
