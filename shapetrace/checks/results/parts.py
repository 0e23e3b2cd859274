"""Parts that a layer's features are cut into: one taken twice, another by nobody."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from shapetrace.checks.facts.arguments import argument
from shapetrace.checks.facts.indices import is_plain
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.diagnosis.sites import owner as owner_of
from shapetrace.lineage.dimensions import DATA
from shapetrace.records import Culprit, Diagnosis, Fix, FunctionCall, TensorRef
from shapetrace.signatures import kind
from shapetrace.source.line import find

#: the calls that give all parts at once
_CUTS = ("chunk", "split", "split_with_sizes", "tensor_split", "unbind")


class Part(NamedTuple):
    """Features from `start` on, `size` of them, along a dimension."""

    call: FunctionCall
    dim: int
    start: int
    size: int


@check(
    "part-taken-twice",
    "warning",
    "two names are given the same part of a layer's features, and nobody reads another "
    "part: what it should have learned is missing, and one part has to be both",
)
def part_taken_twice(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    picks: dict[int, list[FunctionCall]] = {}
    for call in context.of_kind("pick"):
        if call.inputs and call.grad:
            picks.setdefault(call.inputs[0].id, []).append(call)
    for tensor, calls in picks.items():
        if len(calls) < 2 or not context.axes.descends(tensor, DATA):
            continue
        given = calls[0].inputs[0]
        parts = _parts(context, given)
        if parts is None:
            continue
        dim, size = parts[0].dim, parts[0].size
        starts = [part.start for part in parts]
        if size * len(parts) != given.shape[dim] or len({*starts}) == len(starts):
            continue
        if {part.start % size for part in parts} != {0}:
            continue
        left = [at for at in range(0, given.shape[dim], size) if at not in starts]
        twice = next(one for one in parts if starts.count(one.start) > 1)
        twins = [one for one in parts if one.start == twice.start]
        names = [_name(one.call) for one in twins]
        if None in names or len({*names}) < len(names):
            continue
        wrong = [one for at, one in enumerate(parts) if one.start != at * size]
        odd = next((one for one in wrong if one in twins), twins[-1])
        yield _wrong(context, rule, odd, twins, left, names)


def _parts(context: CheckContext, given: TensorRef) -> list[Part] | None:
    """The parts of the features in which a tensor is read, in order of the calls; None
    where it is read in any other way."""
    found: list[Part] = []
    for call in context.graph.users.get(given.id, ()):
        if not isinstance(call, FunctionCall) or not call.outputs:
            continue
        own = list(_of_call(context, call, given)) if kind(call.name) == "pick" else []
        if not own or call.parent != own[0].call.parent:
            return None
        found += [one for one in own if one.size]
    if len(found) < 2 or len({(one.dim, one.size) for one in found}) > 1:
        return None
    if len({one.call.parent for one in found}) > 1:
        return None
    dim, axes = found[0].dim, context.axes
    kinds = {root[0] for root in axes.roots(given.id, dim)}
    return found if kinds == {"parameter"} and axes.sure(given.id, dim) else None


def _of_call(
    context: CheckContext, call: FunctionCall, given: TensorRef
) -> Iterator[Part]:
    """What a call reads of one dimension; nothing where that is not known."""
    rank, outputs = len(given.shape), call.outputs or ()
    if call.name == "getitem":
        part = _indexed(call, given)
        if part is not None:
            yield Part(call, *part)
        return
    dim = argument(call, "dim", 2 if call.name in _CUTS[:-1] else 1)
    dim = 0 if dim is None and call.name in _CUTS else dim
    if not isinstance(dim, int) or not rank:
        return
    dim %= rank
    if call.name == "select":
        index = argument(call, "index", 2)
        if isinstance(index, int):
            yield Part(call, dim, index % given.shape[dim], 1)
    elif call.name == "narrow":
        start, size = argument(call, "start", 2), argument(call, "length", 3)
        if isinstance(start, int) and isinstance(size, int):
            yield Part(call, dim, start % given.shape[dim], size)
    elif call.name in _CUTS:
        start = 0
        for ref in outputs:
            size = 1 if call.name == "unbind" else ref.shape[dim]
            used = bool(context.graph.users.get(ref.id))
            yield Part(call, dim, start, size if used else 0)
            start += size


def _indexed(call: FunctionCall, given: TensorRef) -> tuple[int, int, int] | None:
    """The one dimension that an index cuts, from where on, and how much it leaves."""
    index = call.args[1] if len(call.args) > 1 else None
    items = list(index) if isinstance(index, tuple) else [index]
    if items.count(Ellipsis) == 1:
        at = items.index(Ellipsis)
        whole = [slice(None)] * (len(given.shape) - len(items) + 1)
        items[at : at + 1] = whole
    found = None
    for dim, item in enumerate(items):
        size = given.shape[dim] if dim < len(given.shape) else 0
        if type(item) is int and size:
            start, stop, step = item % size, item % size + 1, 1
        elif isinstance(item, slice) and is_plain(item):
            start, stop, step = item.indices(size)
        else:
            return None
        if step != 1 or stop <= start:
            return None
        if stop - start < size or type(item) is int:
            if found is not None:
                return None
            found = (dim, start, stop - start)
    return found


def _name(call: FunctionCall) -> str | None:
    """The name, the key or the keyword that what is made of a part is given."""
    line = find(call.source)
    if line is None or not call.direct:
        return None
    inner: ast.AST = line.node
    for outer in line.file.around(line.node):
        if isinstance(outer, ast.keyword):
            return outer.arg
        if isinstance(outer, ast.Dict) and inner in outer.values:
            key = outer.keys[outer.values.index(inner)]
            return None if key is None else ast.unparse(key)
        if isinstance(outer, ast.Assign) and len(outer.targets) == 1:
            (target,) = outer.targets
            if isinstance(target, ast.Name | ast.Attribute):
                return ast.unparse(target)
            return _of_tuple(target, outer.value, line.node)
        if isinstance(outer, ast.stmt):
            return None
        inner = outer
    return None


def _of_tuple(target: ast.expr, value: ast.expr, node: ast.AST) -> str | None:
    """The name of several that an expression's part of a tuple is given."""
    if not isinstance(target, ast.Tuple) or not isinstance(value, ast.Tuple):
        return None
    if len(target.elts) != len(value.elts):
        return None
    for name, given in zip(target.elts, value.elts, strict=True):
        if node in ast.walk(given):
            return ast.unparse(name)
    return None


def _wrong(
    context: CheckContext,
    rule: Check,
    odd: Part,
    twins: list[Part],
    left: list[int],
    names: list[str | None],
) -> Diagnosis:
    given, dim, size = odd.call.inputs[0], odd.dim, odd.size
    other = next(one for one in twins if one is not odd)
    root = next(iter(context.axes.roots(given.id, dim)))
    owner = owner_of(context.graph, root[1])
    first = left[0]
    return finding(
        context,
        rule,
        odd.call,
        f"{' and '.join(map(str, names))} are given the same part of {given.shape}, "
        f"{odd.start}:{odd.start + size} of dimension {dim}, and nobody reads "
        f"{first}:{first + size}: a part is not used.",
        culprits=[
            culprit(context, odd.call, f"takes {odd.start}:{odd.start + size} again"),
            culprit(context, other.call, "takes the same part"),
            None if owner is None else Culprit("module", owner),
        ],
        fixes=[_other_part(odd, first)],
        shapes=[("features", given, dim)],
        way=(given.id, dim),
    )


def _other_part(odd: Part, start: int) -> Fix | None:
    """The line with the part that nobody reads."""
    line = find(odd.call.source)
    if line is None or not isinstance(line.tree, ast.Subscript):
        return None
    index = line.tree.slice
    items = index.elts if isinstance(index, ast.Tuple) else [index]
    cuts = [
        item
        for item in items
        if isinstance(item, ast.Slice)
        and (item.lower is None) != (item.upper is None)
        and item.step is None
    ]
    if len(cuts) == 1 and 2 * odd.size == odd.call.inputs[0].shape[odd.dim]:
        (cut,) = cuts
        if cut.lower is None and cut.upper is not None:
            return Fix(
                line.with_part(cut, f"{line.text(cut.upper)}:"), where=line.source
            )
        if cut.lower is not None:
            return Fix(
                line.with_part(cut, f":{line.text(cut.lower)}"), where=line.source
            )
    numbers = [item for item in items if isinstance(item, ast.Constant)]
    if len(numbers) == 1 and odd.size == 1 and type(numbers[0].value) is int:
        return Fix(line.with_part(numbers[0], str(start)), where=line.source)
    return None
