"""Whether a tensor that no other went into is data, or a step of the user's code."""

from __future__ import annotations

import ast

from shapetrace.diagnosis.sizes.factory_size import sized_from
from shapetrace.lineage import End, Graph
from shapetrace.records import FunctionCall
from shapetrace.signatures import is_method
from shapetrace.source.line import find
from shapetrace.source.scope import Scope
from shapetrace.source.tree import function_at

#: calls around one in which its function's others are looked for
_NEAR = 32


def made_between(graph: Graph, made: FunctionCall) -> bool:
    """Whether a function that was given tensors made it, after the model had run: the
    random weights of a gradient penalty are code, and what a script draws for its
    batch, or hands to a module as it is, is data."""
    modules = graph.rec.calls
    if made.parent is not None or not modules or made.order < modules[0].order:
        return False
    if made.inputs or not made.outputs or not made.direct:
        return False
    users = graph.users.get(made.outputs[0].id, ())
    if any(isinstance(user, FunctionCall) and not user.direct for user in users):
        return False
    return _takes_tensors(graph, made) or _as_large(graph, made)


def _as_large(graph: Graph, made: FunctionCall) -> bool:
    """Whether it counts up to a size that is read off what the model made."""
    if made.name != "arange":
        return False
    read = sized_from(graph, End("data", (made.outputs or ())[0].id, 0, made))
    return read is not None and graph.from_model(read[0])


def _takes_tensors(graph: Graph, made: FunctionCall) -> bool:
    """Whether a call of the same function names one of its parameters for a tensor that
    was made elsewhere."""
    found = function_at(made.source)
    if found is None or made.source is None:
        return False
    names = {arg.arg for arg in Scope(*found).parameters()} - {"self"}
    at = max(made.index - _NEAR, 0)
    for call in graph.rec.functions[at : made.index + _NEAR] if names else ():
        source = call.source
        if source is None or call.parent is not None:
            continue
        here = (source.file, source.function) == (
            made.source.file,
            made.source.function,
        )
        line = find(source) if here and call.inputs and call.direct else None
        if line is None:
            continue
        for ref in call.inputs:
            node = line.argument(ref.path, is_method(call))
            while isinstance(node, ast.Attribute | ast.Subscript):
                node = node.value
            if isinstance(node, ast.Name) and node.id in names:
                return True
    return False
