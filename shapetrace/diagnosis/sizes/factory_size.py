"""The tensor that a factory call of the user takes a size over from, as the code says:
`torch.zeros(x.size(0))`, `x.new_empty(x.shape[:2])`, and `torch.ones(batch, steps)`
after `batch, steps = x.shape`."""

from __future__ import annotations

import ast
from bisect import bisect_left
from collections.abc import Iterator

from shapetrace.lineage import Call, End, Graph
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.source.line import Line, find
from shapetrace.source.scope import Scope, arguments, bound
from shapetrace.source.tree import Home, Tree, node_at

#: calls before a factory's in which a name is looked for; names behind names
_MOST, _DEEP = 200, 4

#: the name of a tensor, and one of its dimensions, maybe counted from behind
_Named = tuple[str, int]


def sized_from(graph: Graph, end: End) -> tuple[int, int] | None:
    """The tensor and dimension that a factory's size is taken over from; None for
    numbers written out and all else."""
    made = end.call
    if end.kind not in ("data", "argument") or not isinstance(made, FunctionCall):
        return None
    if not made.outputs or made.inputs and not takes_shape(made):
        return None
    line = find(made.source)
    named = None if line is None else _written(line, end.dim)
    if line is None or named is None:
        return None
    name, dim = named
    size = made.outputs[0].shape[end.dim]
    for ref in _known_as(graph, made, line, name):
        if -len(ref.shape) <= dim < len(ref.shape) and ref.shape[dim] == size:
            return ref.id, dim % len(ref.shape)
    return None


def takes_shape(call: Call) -> bool:
    """`zeros_like(x)`, `x.new_zeros(…)`: a new tensor, and a choice of the user's which
    other tensor's shape it has."""
    name = call.name if isinstance(call, FunctionCall) and call.direct else ""
    return name.endswith("_like") or name.startswith("new_")


def _written(line: Line, dim: int) -> _Named | None:
    """What one size of a factory's is written as."""
    if not isinstance(line.tree, ast.Call):
        return None
    args: list[ast.expr] = list(line.tree.args)
    args += [word.value for word in line.tree.keywords if word.arg == "size"]
    listed = next((one for one in args if isinstance(one, ast.Tuple | ast.List)), None)
    scope = Scope(line.file, line.file.home(line.node))
    at = 0
    for node in args if listed is None else listed.elts:
        part = _shape(node.value if isinstance(node, ast.Starred) else node)
        if part is None and isinstance(node, ast.Starred):
            return None
        if part is None:
            if at == dim:
                return _size(scope, node)
            at += 1
            continue
        name, first, last = part
        if last is None or dim - at < last - first:
            return name, first + dim - at
        at += last - first
    return None


def _shape(node: ast.expr) -> tuple[str, int, int | None] | None:
    """`x.shape`, `x.size()` and `x.shape[1:3]` as ("x", 1, 3)."""
    first, last = 0, None
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
        lower, upper = node.slice.lower, node.slice.upper
        if node.slice.step is not None:
            return None
        bounds = [0 if lower is None else _number(lower)]
        bounds += [] if upper is None else [_number(upper)]
        if any(one is None or one < 0 for one in bounds):
            return None
        first, last = bounds[0] or 0, bounds[1] if upper is not None else None
        node = node.value
    name = _whole(node)
    return None if name is None else (name, first, last)


def _whole(node: ast.expr) -> str | None:
    """The `x` of `x.shape` and `x.size()`."""
    if isinstance(node, ast.Call) and not node.args and not node.keywords:
        node = node.func
        wanted = "size"
    else:
        wanted = "shape"
    if not isinstance(node, ast.Attribute) or node.attr != wanted:
        return None
    return node.value.id if isinstance(node.value, ast.Name) else None


def _size(scope: Scope, node: ast.expr, deep: int = _DEEP) -> _Named | None:
    """`x.size(0)`, `x.shape[0]`, `len(x)` and what was assigned so as ("x", 0)."""
    if isinstance(node, ast.Name):
        ways = bound(scope, node.id)
        if len(ways) != 1 or ways[0].partial or not deep:
            return None
        value, item = ways[0].value, ways[0].item
        if item is None:
            return _size(scope, value, deep - 1)
        part = _shape(value)
        return None if part is None else (part[0], part[1] + item)
    if isinstance(node, ast.Subscript):
        dim, shape = _number(node.slice), node.value
        entry = shape.value if isinstance(shape, ast.Attribute) else None
        if isinstance(entry, ast.Subscript) and _number(entry.slice) is not None:
            # one entry of a tensor has its other dimensions
            shape = ast.Attribute(entry.value, "shape")
            dim = None if dim is None else dim + (dim >= 0)
        name = _whole(shape)
    elif isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:
        inner, dim = node.args[0], 0
        if isinstance(node.func, ast.Name) and node.func.id == "len":
            name = inner.id if isinstance(inner, ast.Name) else None
        else:
            name = _whole(ast.Call(node.func, [], []))
            dim = _number(inner)
    else:
        return None
    return None if name is None or dim is None else (name, dim)


def _number(node: ast.expr) -> int | None:
    """A whole number that is written out, with its sign."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _number(node.operand)
        return None if inner is None else -inner
    value = node.value if isinstance(node, ast.Constant) else None
    return value if type(value) is int else None


def _known_as(
    graph: Graph, made: FunctionCall, line: Line, name: str
) -> Iterator[TensorRef]:
    """The tensors that a name stands for in the function around a call, the newest
    first: its own object, what the name was assigned, what was handed on under it."""
    home = line.file.home(line.node)
    func = line.tree.func if isinstance(line.tree, ast.Call) else None
    if made.inputs and isinstance(func, ast.Attribute):
        if isinstance(func.value, ast.Name) and func.value.id == name:
            yield made.inputs[0]
    yield from _called_so(graph, made, line.file, home, name)
    module, names = graph.module_of(made), arguments(made)
    if module is not None and name in names:
        path = f"args[{names.index(name)}]"
        keyword = f"kwargs[{name!r}]"
        yield from (ref for ref in module.inputs if ref.path in (path, keyword))


def _called_so(
    graph: Graph,
    made: FunctionCall,
    tree: Tree,
    home: Home,
    name: str,
    deep: int = _DEEP,
) -> Iterator[TensorRef]:
    given = _given(tree, home, name)
    for call in _before(graph, made):
        place = node_at(call.source)
        if place is None or place[0] is not tree:
            continue
        if place[1] is given:
            yield from (call.outputs or ())[:1]
        if tree.home(place[1]) is not home:
            continue
        around = tree.parents.get(place[1])
        if isinstance(around, ast.Assign) and _is_named(around.targets, name):
            yield from (call.outputs or ())[:1]
        if isinstance(place[1], ast.expr) and call.source is not None:
            method = isinstance(call, FunctionCall) and "Tensor." in call.qualname
            own = Line(call.source, tree, place[1], place[1])
            for ref in call.inputs:
                node = own.argument(ref.path, method)
                if isinstance(node, ast.Name) and node.id == name:
                    yield ref
    if isinstance(given, ast.Name) and deep:
        outer = tree.home(given)
        yield from _called_so(graph, made, tree, outer, given.id, deep - 1)


def _given(tree: Tree, home: Home, name: str) -> ast.expr | None:
    """What the one call of a function in its file hands over as an argument."""
    if not isinstance(home, ast.FunctionDef):
        return None
    names = [arg.arg for arg in Scope(tree, home).parameters()]
    calls = [
        node
        for node in tree.calls.get(home.name, ())
        if isinstance(node.func, ast.Name)
        and tree.function(home.name, tree.home(node)) is home
    ]
    if len(calls) != 1 or name not in names:
        return None
    at = names.index(name)
    words = [word.value for word in calls[0].keywords if word.arg == name]
    values = calls[0].args[at : at + 1]
    if any(isinstance(one, ast.Starred) for one in calls[0].args[: at + 1]):
        return None
    return next(iter([*words, *values]), None)


def _is_named(targets: list[ast.expr], name: str) -> bool:
    return any(isinstance(one, ast.Name) and one.id == name for one in targets)


def _before(graph: Graph, made: FunctionCall) -> Iterator[Call]:
    """What the same module called before, the newest first."""
    found: list[Call] = []
    for calls in (graph.rec.functions, graph.rec.calls):
        last = bisect_left(calls, made.order, key=lambda call: call.order)
        near = calls[max(0, last - _MOST) : last]
        found += [call for call in near if call.parent == made.parent]
    yield from sorted(found, key=lambda call: -call.order)
