"""Plain Python raised, in a forward or behind it: what was returned, what was unpacked,
and what came in."""

from __future__ import annotations

import re

from shapetrace.diagnosis.python_errors.returned import (
    handed_on,
    returned,
    whole_instead,
)
from shapetrace.diagnosis.python_errors.unpacking import Unpacked, unpacked
from shapetrace.diagnosis.sites import (
    culprit_of_call,
    culprit_of_data,
    culprit_of_module,
)
from shapetrace.lineage import Graph, make_step
from shapetrace.records import Culprit, Diagnosis, FunctionCall, ModuleCall, Step

__all__ = ["behind_forward", "handed_on", "in_forward"]


def in_forward(graph: Graph, module: ModuleCall) -> Diagnosis:
    """A forward raised, and no function of torch's did: where, with what, and whether
    a module handed on a container or the forward unpacked another number of values."""
    error = module.error
    assert error is not None
    name = graph.spoken(module)
    shapes = ", ".join(str(ref.shape) for ref in module.inputs)
    message = (
        f"`{name}` ({module.type}) raised {error.type} on {shapes or 'no tensor'}: "
        f"{error.message}"
    )
    found = unpacked(graph, module, error)
    culprits: list[Culprit] = []
    waited = error.is_of_other_ranks()
    if found is not None:
        message = f"`{name}` ({module.type}) failed: {found.said} ({error.type})."
        culprits += _of_unpacked(graph, found)
    of_types = error.type in ("TypeError", "AttributeError")
    container = handed_on(graph, module) if of_types else None
    if container is not None:
        reason = f"returns {container.output_type}, not one tensor"
        culprits.append(culprit_of_module(container, reason=reason))
    elif found is None:
        around = graph.module_of(module)
        culprits += returned(graph, module, error.message)
        culprits += [] if culprits else returned(graph, around, error.message)
    culprits += [] if waited else _told(graph, module, error.message)
    culprits += _of_state(graph, module, error.message)
    keys = _keys(graph, module) if error.type == "KeyError" else ""
    raised = f"raised {error.type} in its forward"
    if waited:
        raised = "waited for another rank in its forward"
    elif keys:
        raised = f"looks up {error.message}; {keys}"
    culprits.append(culprit_of_module(module, reason=raised))
    if found is not None or not (of_types or waited):
        culprits += _data(graph, module)
    return Diagnosis(
        code="failure",
        severity="error",
        message=message,
        where=f"module:{module.name}",
        module=module.name,
        source=error.source or module.source,
        culprits=_distinct(culprits),
        lineage=_way(graph, found),
        fixes=whole_instead(graph, module, error.message),
        call=module.index,
    )


def behind_forward(graph: Graph) -> Diagnosis | None:
    """Code outside of every module raised over what a model returned; None where the
    error does not tell of it."""
    error = graph.rec.error
    if error is None or error.type not in ("AttributeError", "TypeError", "ValueError"):
        return None
    found = unpacked(graph, None, error)
    culprits = _of_unpacked(graph, found) if found is not None else []
    culprits = culprits or returned(graph, None, error.message)
    if not culprits:
        return None
    said = f"{found.said} ({error.type})" if found is not None else error.message
    return Diagnosis(
        code="failure",
        severity="error",
        message=f"{error.type} outside of every module: {said}",
        where="",
        source=error.source,
        culprits=_distinct(culprits),
        lineage=_way(graph, found),
        fixes=whole_instead(graph, None, error.message),
    )


def _distinct(culprits: list[Culprit]) -> tuple[Culprit, ...]:
    found: dict[tuple[str, str], Culprit] = {}
    for culprit in culprits:
        found.setdefault((culprit.kind, culprit.name), culprit)
    return tuple(found.values())[:3]


def _of_unpacked(graph: Graph, found: Unpacked) -> list[Culprit]:
    """Who gave a tensor its dimensions, or returned another number of values."""
    if found.tensor is None:
        return (
            [culprit_of_module(found.module, reason=found.reason)]
            if found.module
            else []
        )
    shape = graph.tensors[found.tensor].shape
    changer = rank_changer(graph, found.tensor, more=len(shape) > found.wanted)
    number = f"{len(shape)} dimensions, {str(shape)}"
    culprits = []
    if changer is not None:
        culprits.append(changer)
    first = found.tensor
    for _, call in graph.chain(found.tensor):
        first = call.inputs[0].id if call.inputs else first
    came = graph.tensors[first].shape
    if not graph.from_model(first) and (changer is None or len(came) == len(shape)):
        reason = f"comes in with {len(came)} dimensions, {str(came)}"
        culprits.append(culprit_of_data(graph, first, reason=reason))
    elif changer is None:
        made = graph.producer(found.tensor)
        if made is not None:
            culprits.append(culprit_of_call(graph, made, reason=f"gives {number}"))
    return culprits


def _way(graph: Graph, found: Unpacked | None) -> tuple[Step, ...]:
    if found is None or found.tensor is None:
        return ()
    return tuple(make_step(graph, hop) for hop in graph.chain(found.tensor))


def _of_state(graph: Graph, module: ModuleCall, message: str) -> list[Culprit]:
    """A recurrent layer's input with other dimensions than its state: whoever changed
    their number, of the input or of the state."""
    if "should also be" not in message or len(module.inputs) < 2:
        return []
    first, state = module.inputs[:2]
    more = len(first.shape) > len(state.shape)
    changers = (
        rank_changer(graph, first.id, more),
        rank_changer(graph, state.id, not more),
    )
    return [changer for changer in changers if changer is not None]


def _keys(graph: Graph, module: ModuleCall) -> str:
    """The keys of the dicts among what a module was given or holds, in words."""
    keys: dict[str, None] = {}
    for ref in module.inputs:
        keys |= dict.fromkeys(re.findall(r"\['(\w+)'\]", ref.path.partition("]")[2]))
    said = [f"it was given {_listed(keys)}"] if keys else []
    inside = f"{module.name}." if module.name else ""
    for name, info in graph.rec.modules.items():
        if info.type == "ModuleDict" and name.startswith(inside):
            own = dict.fromkeys(
                other.removeprefix(f"{name}.").partition(".")[0]
                for other in graph.rec.modules
                if other.startswith(f"{name}.")
            )
            said.append(f"`{graph.said(name)}` has {_listed(own)}")
    return "; ".join(said[:3])


def _listed(keys: dict[str, None]) -> str:
    return ", ".join(repr(key) for key in list(keys)[:8])


def _told(graph: Graph, module: ModuleCall, message: str) -> list[Culprit]:
    """Layers that made a size which the error's message names."""
    numbers = [int(number) for number in re.findall(r"\d+", message)]
    # what is named twice is as it should be: expected and given
    told = {number for number in numbers if numbers.count(number) == 1}
    found = []
    for ref in module.inputs:
        for dim, size in enumerate(ref.shape):
            end = graph.trail(ref.id, dim).end
            if size in told and end.kind == "parameter" and end.call is not None:
                reason = f"makes the {size} that the message names"
                found.append(
                    culprit_of_call(graph, end.call, dim=dim, size=size, reason=reason)
                )
    return found[:1]


def _data(graph: Graph, module: ModuleCall) -> list[Culprit]:
    """The data behind what a module was given: its height and width before others."""
    for ref in module.inputs:
        if not graph.from_model(ref.id):
            return [culprit_of_data(graph, ref.id, reason=f"has shape {ref.shape}")]
    ends = [
        end
        for ref in module.inputs
        for dim in range(1, len(ref.shape))
        for end in graph.ends(ref.id, dim)
        if end.kind == "data"
    ]
    if not ends:
        return []
    end = max(ends, key=lambda end: end.dim)
    shape = graph.tensors[end.tensor].shape
    return [culprit_of_data(graph, end.tensor, reason=f"comes in with shape {shape}")]


def rank_changer(graph: Graph, tensor: int, more: bool | None) -> Culprit | None:
    """The newest call of the user's that changed the number of dimensions: of a tensor
    with too many of them one that added some, of one with too few one that dropped.
    What a later call made up for is passed over."""
    due = 0
    for made, call in graph.chain(tensor):
        old = call.inputs[0].shape if call.inputs else ()
        new = graph.tensors[made].shape
        if not call.inputs or len(old) == len(new):
            continue
        added = len(new) > len(old)
        if more is not None and added is not more:
            due += abs(len(new) - len(old))
            continue
        if due > 0:
            due -= abs(len(new) - len(old))
            continue
        if isinstance(call, FunctionCall) and call.direct:
            verb = "adds a dimension" if added else "drops a dimension"
            reason = f"{verb}: {str(old)} -> {str(new)}"
            return culprit_of_call(graph, call, reason=reason)
    return None
