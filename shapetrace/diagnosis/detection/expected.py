"""What waits behind the failing call: layers that never ran, as far as is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from shapetrace.diagnosis.detection.mismatch import Mismatch
from shapetrace.lineage import Graph
from shapetrace.records import FunctionCall, ModuleInfo
from shapetrace.signatures import Conflict, conflicts, module_function, predict


def clash_text(name: str, role: str, clash: Conflict) -> str:
    if clash.kind == "rank" and role.startswith("dim="):
        return f"then {name} is asked for {role} of {clash.left.size}-D"
    if clash.kind == "rank":
        return f"then {name} gets {clash.left.size} dimensions, {role} is wanted"
    if clash.name == "index" and clash.right.input is None:
        return f"then {name} is asked for {role} of {clash.left.size}"
    return f"then {name} expects {role}={clash.right.size}, gets {clash.left.size}"


def next_layers(graph: Graph, mismatch: Mismatch, call: FunctionCall) -> str:
    """What the following layers of an nn.Sequential say to the repaired output: they
    never ran, but which they are is known. "" where they go well or are not known."""
    layer = mismatch.layer
    shapes = predict(call, tuple(ref.shape for ref in call.inputs))
    if layer is None or not shapes or len(shapes) != 1 or not call.inputs:
        return ""
    ref = replace(call.inputs[0], path="args[0]", shape=shapes[0])
    owner, _, position = layer.name.rpartition(".")
    info = graph.rec.modules.get(owner)
    while info is not None and info.type == "Sequential" and position.isdigit():
        position = str(int(position) + 1)
        name = f"{owner}.{position}" if owner else position
        following = graph.rec.modules.get(name)
        if following is None:
            return ""
        made = module_function(
            replace(layer, name=name, type=following.type, inputs=(ref,)), following
        )
        if made is None:
            return ""
        found = conflicts(made)
        if found:
            role = found[0].right.name or found[0].name
            return clash_text(graph.said(name), role, found[0])
        after = predict(made, tuple(other.shape for other in made.inputs))
        if not after or len(after) != 1:
            return ""
        if any(size < 1 for size in after[0]):
            return f"then the input of {graph.said(name)} is too small for its window"
        ref = replace(ref, shape=after[0])
    return ""


_GIVES = (
    *("out_features", "out_channels", "num_features", "embedding_dim"),
    "normalized_shape",
)
_TAKES = ("in_features", "in_channels", "num_features", "input_size")


def waiting(graph: Graph) -> dict[str, int]:
    """The layers that the batch did not reach, and how many features each takes."""
    reached = {call.name for call in graph.rec.calls}
    return {
        name: info.attributes[key]
        for name, info in graph.rec.modules.items()
        for key in _TAKES
        if name not in reached and isinstance(info.attributes.get(key), int)
    }


def unreached(graph: Graph, modules: Mapping[str, ModuleInfo]) -> str:
    """Layers that the batch did not reach and that take the old width of what a layer
    gives, none the new, or the next of them by definition, which may stand behind a
    layer or beside it: the failing call goes through, but what comes after it may well
    not."""
    waits = waiting(graph)
    names = list(graph.rec.modules)
    for name, new in modules.items():
        old = graph.rec.modules[name]
        behind = [one for one in names[names.index(name) :] if one in waits][:1]
        for key in _GIVES:
            before = _number(old.attributes.get(key))
            after = _number(new.attributes.get(key))
            if before == after:
                continue
            asked = behind if after in waits.values() else list(waits)
            for other in asked:
                if waits[other] == before:
                    return f"{graph.said(other)}, not reached yet, takes {before}"
    return ""


def _number(value: Any) -> Any:
    """The one number of a `normalized_shape` over one dimension."""
    if isinstance(value, (tuple, list)) and len(value) == 1:
        return value[0]
    return value


def sizes_asked(call: FunctionCall) -> tuple[int, ...]:
    """The sizes that a view asks for; () where they are not all numbers."""
    rest = call.args[1:]
    if len(rest) == 1 and isinstance(rest[0], (tuple, list)):
        rest = tuple(rest[0])
    return tuple(rest) if all(type(size) is int for size in rest) else ()
