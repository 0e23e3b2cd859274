"""`b, c, h, w = x.shape` and `out, state = layer(x)` with another number of values."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from shapetrace.diagnosis.python_errors.returned import children
from shapetrace.lineage import Graph
from shapetrace.records import CallError, ModuleCall, Source
from shapetrace.source.lines import code_line
from shapetrace.source.scope import arguments_at

_MANY = re.compile(r"too many values to unpack \(expected (\d+)(?:, got (\d+))?\)")
_FEW = re.compile(
    r"not enough values to unpack \(expected (?:at least )?(\d+), got (\d+)\)"
)


@dataclass(frozen=True, slots=True)
class Unpacked:
    """`wanted` values were named, another number came: the sizes of `tensor`, or what
    `module` returned."""

    wanted: int
    said: str
    tensor: int | None = None
    module: ModuleCall | None = None
    reason: str = ""


def unpacked(
    graph: Graph, module: ModuleCall | None, error: CallError
) -> Unpacked | None:
    """What a line of the user's unpacked into another number of names."""
    many, few = _MANY.match(error.message), _FEW.match(error.message)
    told = many or few
    if told is None:
        return None
    wanted, got = int(told[1]), int(told[2]) if told[2] else None
    value = _value(error.source)
    if value is None:
        return None
    whole = _of_sizes(value)
    if whole is not None:
        return _sizes(graph, module, error.source, whole, wanted, got)
    return _values(graph, module, value, wanted, got)


def _value(source: Source | None) -> ast.expr | None:
    """The right side of the assignment on a line, or what a loop there goes over."""
    if source is None:
        return None
    code = code_line(source.file, source.line).strip()
    try:
        statement = ast.parse(code if not code.endswith(":") else f"{code} pass").body
    except SyntaxError:  # part of a longer statement
        return None
    if len(statement) == 1 and isinstance(statement[0], ast.Assign):
        return statement[0].value
    return None


def _of_sizes(value: ast.expr) -> ast.expr | None:
    """The `x` of `x.shape` and `x.size()`."""
    if isinstance(value, ast.Call) and not value.args:
        value = value.func
        if not isinstance(value, ast.Attribute) or value.attr != "size":
            return None
        return value.value
    if isinstance(value, ast.Attribute) and value.attr == "shape":
        return value.value
    return None


def _sizes(
    graph: Graph,
    module: ModuleCall | None,
    source: Source | None,
    whole: ast.expr,
    wanted: int,
    got: int | None,
) -> Unpacked | None:
    """The tensor whose sizes were unpacked: an argument of the forward by its name,
    else the newest tensor of the forward that has that number of dimensions."""
    text = ast.unparse(whole)
    found = []
    if module is not None:
        names = arguments_at(source)
        path = f"args[{names.index(text)}]" if text in names else ""
        found += [ref for ref in module.inputs if path and ref.path == path]
    parent = module.index if module is not None else None
    own = [call for call in graph.rec.functions if call.parent == parent]
    made = [(call.order, call.outputs or ()) for call in own]
    made += [(c.end_order, c.outputs or ()) for c in children(graph, module)]
    for _, outputs in sorted(made, key=lambda entry: -entry[0]):
        found += outputs
    found += module.inputs if module is not None else ()
    for ref in found:
        rank = len(ref.shape)
        if rank == got if got is not None else rank > wanted:
            sizes = "size" if wanted == 1 else "sizes"
            said = (
                f"{wanted} {sizes} of `{text}` are unpacked, it has {rank} dimensions "
                f"{ref.shape}"
            )
            return Unpacked(wanted, said, ref.id)
    return None


def _values(
    graph: Graph,
    module: ModuleCall | None,
    value: ast.expr,
    wanted: int,
    got: int | None,
) -> Unpacked | None:
    """The module whose result was unpacked: that of the line, else the newest."""
    calls = children(graph, module)
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        own = value.func.attr
        calls = [c for c in calls if c.name.rpartition(".")[2] == own] or calls
    elif not isinstance(value, (ast.Call, ast.Name)):
        return None
    if not calls or not calls[0].outputs:
        return None
    call = calls[0]
    name = f"`{graph.spoken(call)}`"
    gives = f"{got} values"
    if call.output_type == "Tensor" and call.outputs:
        gives = f"one tensor {call.outputs[0].shape}"
    elif got is None:
        gives = call.output_type
    reason = f"returns {gives}, where {wanted} are unpacked"
    return Unpacked(wanted, f"{name} {reason}", None, call, reason)
