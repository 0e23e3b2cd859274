"""`Trace.expect`: a shape in a jaxtyping-like string, and who made it another one."""

from __future__ import annotations

import ast
import difflib
import operator
import re
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import TypeAlias

from shapetrace.diagnosis.hypothesis import Site
from shapetrace.diagnosis.sites import site_of_call, site_of_data
from shapetrace.diagnosis.sizes.leaves import Leaf, leaves, makers
from shapetrace.diagnosis.words.text import told
from shapetrace.diagnosis.words.unexplained import where_of
from shapetrace.errors import ShapeError, UsageError
from shapetrace.lineage import Call, Graph, steps
from shapetrace.records import (
    Culprit,
    Diagnosis,
    Fix,
    FunctionCall,
    ModuleInfo,
    Recording,
    Step,
)
from shapetrace.signatures import predict
from shapetrace.source.build_line import placed, with_arguments
from shapetrace.source.constructor import changed, constructor

#: name -> size; "*name" -> the sizes of its dimensions
Sizes: TypeAlias = MutableMapping[str, int | tuple[int, ...]]

_HOW = (
    'Write the dimensions with spaces between them: a number, a name ("batch"), '
    'arithmetic of both ("2*width"), `_` for any size, `*name` or `...` for any number '
    'of dimensions; for example "batch 33" or "*batch height width 3"; "" is a scalar.'
)
_NAME = re.compile(r"[^\W\d]\w*\Z")
_SIGNS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}


@dataclass(frozen=True, slots=True)
class _Mismatch:
    """`dim` is None when it is the number of dimensions that does not fit."""

    dim: int | None
    got: int
    expected: int
    said: str


class _Unbound(Exception):
    """An expression needs the size of a name that has none yet."""


def check(graph: Graph, tensor_id: int, shape: str, sizes: Sizes) -> None:
    """Hold a tensor against a shape, and bind the names that are new.

    Raises `ShapeError`, with the explanation and its `diagnosis`, on a mismatch, and
    `UsageError` when the string cannot be read; neither binds a name.
    """
    __tracebackhide__ = True
    tokens = _tokens(shape)
    actual = graph.tensors[tensor_id].shape
    bound = dict(sizes)
    found = _compare(tokens, actual, bound, shape)
    if found is not None:
        diagnosis = _diagnose(graph, tensor_id, shape, found)
        raise ShapeError(str(diagnosis), diagnosis)
    sizes.update(bound)


def output_of(rec: Recording, x: str | Call) -> int:
    """The id of the first tensor that a call gave out; for a module's name, that of
    its newest call which gave one out."""
    if isinstance(x, str):
        called = [call for call in rec.calls if call.name == x]
        if not called:
            names = dict.fromkeys(call.name for call in rec.calls)
            near = difflib.get_close_matches(x, names, 3) or list(names)[:3]
            raise UsageError(
                f"expect() was given {x!r}, and no module of that name was called; "
                f"there were {', '.join(map(repr, near)) or 'no calls at all'}."
            )
        calls: list[Call] = [call for call in called if call.outputs]
    else:
        calls = [x] if x.outputs else []
    if not calls or not calls[-1].outputs:
        raise UsageError(
            f"expect() was given a call without a tensor to its output: {x}"
        )
    return calls[-1].outputs[0].id


# -- the string ---------------------------------------------------------------------


def _tokens(shape: str) -> list[str]:
    if not isinstance(shape, str):
        raise UsageError(
            f"expect() takes the shape as a string, not {type(shape).__name__}. {_HOW}"
        )
    tokens = shape.split()
    several = [token for token in tokens if _is_variadic(token)]
    if len(several) > 1:
        raise UsageError(
            f"expect() cannot read {shape!r}: {' and '.join(several)} both stand for "
            f"any number of dimensions, and only one can. {_HOW}"
        )
    for token in tokens:
        if token in ("_", "..."):
            continue
        if token.startswith("*"):
            if not _NAME.match(token[1:]):
                raise _unreadable(shape, token)
        else:
            _expression(token, shape)
    return tokens


def _is_variadic(token: str) -> bool:
    return token == "..." or token.startswith("*")


def _unreadable(shape: str, token: str) -> UsageError:
    hint = " (separate dimensions with spaces, not commas)" if "," in token else ""
    return UsageError(f"expect() cannot read {token!r} in {shape!r}{hint}. {_HOW}")


def _expression(token: str, shape: str) -> ast.expr:
    try:
        node = ast.parse(token, mode="eval").body
    except (SyntaxError, ValueError):
        raise _unreadable(shape, token) from None
    if not _is_readable(node):
        raise _unreadable(shape, token)
    return node


def _is_readable(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp):
        known = type(node.op) in _SIGNS
        return known and _is_readable(node.left) and _is_readable(node.right)
    if isinstance(node, ast.Constant):
        return type(node.value) is int
    return isinstance(node, ast.Name)


def _value(
    node: ast.expr, sizes: Mapping[str, int | tuple[int, ...]], shape: str, token: str
) -> int:
    if isinstance(node, ast.BinOp):
        left = _value(node.left, sizes, shape, token)
        right = _value(node.right, sizes, shape, token)
        if isinstance(node.op, ast.FloorDiv) and right == 0:
            raise UsageError(f"expect() divides by zero at {token!r} in {shape!r}.")
        return _SIGNS[type(node.op)](left, right)
    if isinstance(node, ast.Constant):
        return int(node.value)  # type: ignore[arg-type]  # read as int before
    assert isinstance(node, ast.Name)
    size = sizes.get(node.id)
    if not isinstance(size, int):
        raise _Unbound(node.id)
    return size


# -- the comparison -------------------------------------------------------------------


def _compare(
    tokens: list[str],
    actual: tuple[int, ...],
    bound: dict[str, int | tuple[int, ...]],
    shape: str,
) -> _Mismatch | None:
    """The first dimension that does not fit; new names are added to `bound`."""
    at = next((i for i, token in enumerate(tokens) if _is_variadic(token)), None)
    least = len(tokens) - (at is not None)
    if len(actual) < least or at is None and len(actual) != least:
        word = "at least " if at is not None else ""
        said = f"{len(actual)} dimensions instead of {word}{least}"
        return _Mismatch(None, len(actual), least, said)
    dims = list(range(len(tokens)))
    if at is not None:
        extra = len(actual) - least
        end = at + extra
        found = _several(tokens[at], at, actual[at:end], bound)
        if found is not None:
            return found
        dims = [i if i < at else i + extra - 1 for i in dims]
    known = set(bound)
    plain = [(t, d) for t, d in zip(tokens, dims) if _NAME.match(t) and t != "_"]
    for token, dim in plain:
        bound.setdefault(token, actual[dim])
    for token, dim in zip(tokens, dims):
        if token == "_" or _is_variadic(token):
            continue
        try:
            expected = _value(_expression(token, shape), bound, shape, token)
        except _Unbound as name:
            raise UsageError(
                f"expect() cannot compute {token!r} in {shape!r}: {name} has no size "
                f"yet. Name it alone first, as a dimension of this or of an earlier "
                f"shape: t.expect(tensor, '{name} ...')."
            ) from None
        if actual[dim] != expected:
            said = f"dim {dim} is {actual[dim]} instead of {expected}"
            if _NAME.match(token):
                since = "before" if token in known else "in this shape"
                said += f" (`{token}` was {expected} {since})"
            elif not token.isdigit():
                said += f" (`{token}`)"
            return _Mismatch(dim, actual[dim], expected, said)
    return None


def _several(
    token: str,
    at: int,
    actual: tuple[int, ...],
    bound: dict[str, int | tuple[int, ...]],
) -> _Mismatch | None:
    """`*name`: the same sizes wherever it recurs."""
    if token == "...":
        return None
    before = bound.setdefault(token, actual)
    assert isinstance(before, tuple)
    if len(before) != len(actual):
        said = f"`{token}` is {actual}, and was {before} before"
        return _Mismatch(None, len(actual), len(before), said)
    for offset, (got, expected) in enumerate(zip(actual, before)):
        if got != expected:
            said = f"dim {at + offset} is {got} instead of {expected}"
            said += f" (`{token}` was {before} before)"
            return _Mismatch(at + offset, got, expected, said)
    return None


# -- the explanation ------------------------------------------------------------------


def _diagnose(graph: Graph, tensor: int, shape: str, found: _Mismatch) -> Diagnosis:
    actual = graph.tensors[tensor].shape
    culprits: tuple[Culprit, ...]
    fixes: tuple[Fix, ...] = ()
    way: tuple[Step, ...]
    if found.dim is None:
        culprits = _rank_culprits(graph, tensor, found)
        way = steps(graph, tensor)
    else:
        culprits = _culprits(graph, tensor, found.dim, found)
        fixes = _fixes(graph, tensor, found.dim, found)
        way = steps(graph, tensor, found.dim)
    made = graph.producer(tensor)
    if made is not None and made.index < 0:  # a guess is no call that can be named
        made = None
    module = graph.module_of(made) if isinstance(made, FunctionCall) else made
    where = ""
    if isinstance(made, FunctionCall):
        where = where_of(graph, made)
    elif made is not None:
        where = f"module:{made.name}"
    diagnosis = Diagnosis(
        code="expectation",
        severity="error",
        message=f'expected shape "{shape}", got {actual}: {found.said}.',
        where=where,
        module=module.name if module is not None else None,
        source=made.source if made is not None else None,
        culprits=culprits,
        lineage=way,
        fixes=fixes,
        function=made.index if isinstance(made, FunctionCall) else None,
        call=module.index if module is not None else None,
    )
    return told(graph.rec, diagnosis)


def _culprits(
    graph: Graph, tensor: int, dim: int, found: _Mismatch
) -> tuple[Culprit, ...]:
    """Who made the size; of a product, first the factor that alone explains it."""
    parts = leaves(graph, tensor, dim)
    named: list[Culprit] = []
    if len(parts) > 1:
        named = [
            maker.culprit
            for part in parts
            if (wanted := _wanted(part.size, found)) is not None
            for maker in makers(graph, _own(part), wanted)
        ][:1]
        joined = graph.trail(tensor, dim).end
        if joined.call is not None:
            factors = "·".join(str(part.size) for part in parts)
            site = site_of_call(graph, joined.call)
            named.append(
                Culprit(
                    site.kind,
                    site.name,
                    dim,
                    found.got,
                    found.expected,
                    site.source,
                    f"joins {factors} to the {found.got}",
                )
            )
    for part in parts:
        expected = found.expected if len(parts) == 1 else None
        named += [maker.culprit for maker in makers(graph, part, expected)]
    first: dict[tuple[str, str], Culprit] = {}
    for culprit in named:
        first.setdefault((culprit.kind, culprit.name), culprit)
    return tuple(first.values())[:3]


def _own(part: Leaf) -> Leaf:
    """A factor's own way, without the way of the product before it."""
    at = next((i for i, hop in enumerate(part.hops) if hop.origin.how == "product"), -1)
    start = at + 1
    return part._replace(hops=part.hops[start:])


def _wanted(size: int, found: _Mismatch) -> int | None:
    """What one factor would have to be, were the others right."""
    others = found.got // size if size else 0
    if not others or found.expected % others:
        return None
    return found.expected // others


def _rank_culprits(graph: Graph, tensor: int, found: _Mismatch) -> tuple[Culprit, ...]:
    """The newest call that changed the number of dimensions, else the data."""
    for made, call in graph.chain(tensor):
        rank = len(graph.tensors[made].shape)
        before = [ref for ref in call.inputs if not graph.is_parameter(ref.id)]
        if before and len(before[0].shape) != rank:
            reason = f"made {len(before[0].shape)} dimensions into {rank}"
            return (_named(site_of_call(graph, call), rank, reason),)
        tensor = before[0].id if before else tensor
    reason = f"comes in with {found.got} dimensions, and no call changed their number"
    return (_named(site_of_data(graph, tensor), found.got, reason),)


def _named(site: Site, size: int, reason: str) -> Culprit:
    return Culprit(site.kind, site.name, None, size, None, site.source, reason)


def _fixes(graph: Graph, tensor: int, dim: int, found: _Mismatch) -> tuple[Fix, ...]:
    """The layer built anew, where the size is one of its arguments."""
    trail = graph.trail(tensor, dim)
    end = trail.end
    if end.kind != "parameter" or end.call is None or end.origin is None:
        return ()
    layer = graph.layer_of(end.call)
    info = graph.rec.modules.get(layer.name) if layer is not None else None
    note = end.origin.note
    if info is None or info.attributes.get(note) != found.got:
        return ()
    built = constructor(info, **{note: found.expected})
    if built is None:
        return ()
    line, where = placed(graph.constructions, info, built)
    detail = ""
    if not line:
        own = with_arguments(
            graph.constructions, info.name, **{note: str(found.expected)}
        )
        if own is None:
            return ()
        line, where = own
        detail = "changes every module that the line builds"
    direct = len(trail.hops) == 1 and isinstance(end.call, FunctionCall) and not detail
    tried = direct and _gives(end.call, info, note, dim, found.expected)
    return (Fix(line, "verified" if tried else "untried", detail, where),)


def _gives(call: Call, info: ModuleInfo, note: str, dim: int, expected: int) -> bool:
    """Whether the layer so built gives the expected size, by its signature."""
    try:
        anew = changed(info, **{note: expected})
    except ValueError:
        return False
    if anew is None or not isinstance(call, FunctionCall):
        return False
    shapes = {old.id: new.shape for old, new in zip(info.parameters, anew.parameters)}
    made = predict(call, tuple(shapes.get(ref.id, ref.shape) for ref in call.inputs))
    return made is not None and len(made[0]) > dim and made[0][dim] == expected
