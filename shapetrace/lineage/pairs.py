"""A failed call beside one like it that went well: which data changed, and which
argument did not change with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from shapetrace.lineage.graph import Graph
from shapetrace.lineage.hops import Call
from shapetrace.records import FunctionCall, ModuleCall, Source, TensorRef
from shapetrace.signatures import kind
from shapetrace.source.place import segment


@dataclass(frozen=True, slots=True)
class Change:
    """A size that differs where nothing upstream of it does.

    `tensor` is the id in the failed (second) trace; `dim` is None where the number of
    dimensions differs, which `before` and `now` then are. `name` is the dimension's
    role where its first user has one ("batch"), else the dimension in words; `call`
    made it (None: it came from outside), `order` places it in the trace.
    """

    tensor: int
    dim: int | None
    before: int
    now: int
    name: str
    call: Call | None = None
    source: Source | None = None
    order: int = 0

    def __str__(self) -> str:
        return f"{self.name} {self.before} → {self.now}"


@dataclass(frozen=True, slots=True)
class GoodBatch:
    """What is known from `call`, like the failed one, that went well.

    `changes` are the sizes of the data that differ, the one that matters first;
    `culprit` is the call, of the failed trace, whose argument `value` stayed though
    the size that it was equal to changed; `literal` is that call in words.
    """

    call: Call
    changes: tuple[Change, ...]
    culprit: FunctionCall | None = None
    literal: str = ""
    value: int | None = None

    def __str__(self) -> str:
        said = str(self.changes[0])
        if self.culprit is None:
            return said
        at = f" at {self.culprit.source}" if self.culprit.source else ""
        word = "hard-codes" if _is_written(self.culprit, self.value) else "still gets"
        return f"{said}; `{self.literal}`{at} {word} {self.value}"


def last_good(graph: Graph, call: Call) -> GoodBatch | None:
    """The last time that this call went well, in an earlier batch of the same trace.

    None where there was none, or where the data of both have the same sizes.
    """
    earlier = earlier_call(graph, call)
    return None if earlier is None else against(graph, earlier, graph, call)


def earlier_call(graph: Graph, call: Call) -> Call | None:
    """The call of the last earlier batch that stands where this one does."""
    site = _site(graph, call)
    calls: tuple[Call, ...] = graph.rec.functions
    if isinstance(call, ModuleCall):
        calls = graph.rec.calls
    alike = [
        other
        for other in calls
        if other.name == call.name
        and other.order < call.order
        and _site(graph, other) == site
    ]
    root = _root(graph, call)
    before = [other for other in alike if _root(graph, other) != root or root is None]
    good = [other for other in before if other.outputs is not None and not other.error]
    if not good:
        return None
    newest = _root(graph, good[-1])
    nth = sum(_root(graph, other) == root for other in alike) if root is not None else 0
    same = [other for other in good if _root(graph, other) == newest]
    return same[min(nth, len(same) - 1)] if newest is not None else good[-1]


def against(good: Graph, a: Call, failed: Graph, b: Call) -> GoodBatch | None:
    """What differs behind two calls of one place in the code, of which `a` went well;
    None where the data of both have the same sizes."""
    pairs = list(lockstep(good, a, failed, b))
    changes = sorted(_changes(failed, pairs), key=lambda change: change.order)
    if not changes:
        return None
    found = GoodBatch(a, tuple(changes))
    literal = _stayed(good, failed, pairs, changes, b)
    if literal is None:
        return found
    culprit, value, size = literal
    first = [change for change in changes if change.before == size]
    rest = [change for change in changes if change.before != size]
    return replace(
        found,
        changes=(*first, *rest),
        culprit=culprit,
        literal=written(culprit),
        value=value,
    )


def _site(graph: Graph, call: Call) -> tuple[Any, ...]:
    module = graph.module_of(call)
    return call.name, call.source, module.name if module is not None else None


def _root(graph: Graph, call: Call) -> int | None:
    """The outermost module call around a call, itself included: a batch."""
    at = call if isinstance(call, ModuleCall) else graph.module_of(call)
    while at is not None and at.parent is not None:
        at = graph.rec.calls[at.parent]
    return at.index if at is not None else None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two calls of one place in the code, and their inputs, by pairs. `begins` are the
    pairs of inputs that are data for both: nothing recorded is behind them, or what was
    done before the earlier batch."""

    a: Call
    b: Call
    inputs: tuple[tuple[TensorRef, TensorRef], ...]
    begins: tuple[tuple[TensorRef, TensorRef], ...]


def lockstep(good: Graph, a: Call, failed: Graph, b: Call) -> Iterator[Pair]:
    """Both calls and what is behind them, pair by pair as long as they are alike."""
    one = good is failed
    boundary = a.end_order if isinstance(a, ModuleCall) else a.order
    seen: set[tuple[int, int]] = set()
    todo = [(a, b)]
    while todo:
        a, b = todo.pop()
        inputs, begins = [], []
        for left, right in _matched(a.inputs, b.inputs):
            if failed.is_parameter(right.id):
                continue
            inputs.append((left, right))
            if (left.id, right.id) in seen:
                continue
            seen.add((left.id, right.id))
            before, now = good.producer(left.id), failed.producer(right.id)
            if before is None and now is None:
                begins.append((left, right))
            elif before is None or now is None or not _alike(good, before, failed, now):
                continue
            elif not one or now.order > boundary:
                todo.append((before, now))
            elif not failed.from_model(right.id):  # else: state from an earlier batch
                begins.append((left, right))
        yield Pair(a, b, tuple(inputs), tuple(begins))


def _matched(
    a: tuple[TensorRef, ...], b: tuple[TensorRef, ...]
) -> list[tuple[TensorRef, TensorRef]]:
    known = {ref.path: ref for ref in a}
    return [(known[ref.path], ref) for ref in b if ref.path in known]


def _alike(good: Graph, a: Call, failed: Graph, b: Call) -> bool:
    """The same function or module, made in the same module."""
    if type(a) is not type(b) or a.name != b.name:
        return False
    above, beside = good.module_of(a), failed.module_of(b)
    return (above.name if above else None) == (beside.name if beside else None)


def _changes(failed: Graph, pairs: list[Pair]) -> Iterator[Change]:
    """The sizes that differ first: of data, or of what a call made of equal inputs."""
    for pair in pairs:
        for left, right in pair.begins:
            yield from _differing(failed, left, right, None, pair.b)
        if any(left.shape != right.shape for left, right in pair.inputs):
            continue
        for left, right in zip(pair.a.outputs or (), pair.b.outputs or ()):
            yield from _differing(failed, left, right, pair.b, pair.b)


def _differing(
    graph: Graph, left: TensorRef, right: TensorRef, made: Call | None, at: Call
) -> Iterator[Change]:
    source = at.source
    if len(left.shape) != len(right.shape):
        ranks = len(left.shape), len(right.shape)
        yield Change(right.id, None, *ranks, "dimensions", made, source, at.order)
        return
    for dim, (before, now) in enumerate(zip(left.shape, right.shape)):
        if before != now:
            by = made.name or "the input" if made is not None else "the input"
            name = _role(graph, right.id, dim) or f"dim {dim} of {by}"
            yield Change(right.id, dim, before, now, name, made, source, at.order)


def _role(graph: Graph, tensor: int, dim: int) -> str:
    """What the first call that names this dimension calls it."""
    for call in graph.users.get(tensor, ())[:4]:
        if isinstance(call, FunctionCall):
            for position, ref in enumerate(call.inputs):
                if ref.id == tensor:
                    role = graph.relation(call).roles.get((position, dim))
                    if role:
                        return role
    return ""


def _stayed(
    good: Graph, failed: Graph, pairs: list[Pair], changes: list[Change], failing: Call
) -> tuple[FunctionCall, int, int] | None:
    """The first call that was given the number that a changed size had been: the call,
    the number, and the size that it went with."""
    sizes = {change.before for change in changes if change.before > 1}
    for pair in sorted(pairs, key=lambda pair: pair.b.order):
        a, b = pair.a, pair.b
        if not isinstance(a, FunctionCall) or not isinstance(b, FunctionCall):
            continue
        kept = (numbers(a) & numbers(b)) - _passed_on(good, pair, a, b)
        if not kept:
            continue
        if not a.inputs or kind(a.name) == "fill":
            found = sorted(kept & sizes & _sizes(a) & _sizes(b))
            if found and _clashes(failed, failing, b, found[0], changes):
                return b, found[0], found[0]
            continue
        for value, size in _tied(good, pair, a, kept):
            return b, value, size
        changed = {
            before
            for left, right in pair.inputs
            for before, now in zip(left.shape, right.shape)
            if before != now
        }
        plain = sorted(kept & sizes & changed)
        if plain:
            return b, plain[0], plain[0]
    return None


def _passed_on(graph: Graph, pair: Pair, a: FunctionCall, b: Call) -> set[int]:
    """The sizes of an output that are those of input dimensions which did not change:
    of `x.view(-1, 24)` of (2, 12, 24) the 24, though 2·12 is 24 as well."""
    places = {ref.id: at for at, ref in enumerate(a.inputs)}
    changed = {
        (places[left.id], dim)
        for left, right in pair.inputs
        for dim, sizes in enumerate(zip(left.shape, right.shape))
        if len(left.shape) != len(right.shape) or len(set(sizes)) > 1
    }
    passed: set[int] = set()
    asked: set[int] = set()
    now = [ref.shape for ref in b.outputs or ()]
    for at, (ref, dims) in enumerate(zip(a.outputs or (), graph.relation(a).outputs)):
        for dim, (size, origin) in enumerate(zip(ref.shape, dims)):
            if origin.how == "same" and not changed.intersection(origin.sources):
                passed.add(size)
            elif at >= len(now) or now[at][dim : dim + 1] == (size,):
                asked.add(size)
    return passed - asked


def _sizes(call: Call) -> set[int]:
    return {size for ref in call.outputs or () for size in ref.shape}


def _clashes(
    graph: Graph, failing: Call, made: Call, value: int, changes: list[Change]
) -> bool:
    """Whether the failing call has the new size of a change, and the old one from
    `made` alone."""
    now = {change.now for change in changes if change.before == value}
    if not now & {size for ref in failing.inputs for size in ref.shape}:
        return False
    return any(
        all(end.call is made for end in graph.ends(ref.id, dim))
        for ref in failing.inputs
        for dim, size in enumerate(ref.shape)
        if size == value
    )


def _tied(
    good: Graph, pair: Pair, a: FunctionCall, kept: set[int]
) -> Iterator[tuple[int, int]]:
    """Numbers given that were the size of an output whose source has changed since."""
    then = {left.id: (left, right) for left, right in pair.inputs}
    for ref in a.outputs or ():
        for dim, size in enumerate(ref.shape):
            if size not in kept or size < 2:
                continue
            made = good.dim_origin(ref.id, dim)
            if made is None:
                continue
            for tensor, at in good.source_ids(*made):
                if tensor not in then:
                    continue
                left, right = then[tensor]
                same_rank = len(left.shape) == len(right.shape)
                if same_rank and left.shape[at] != right.shape[at]:
                    yield size, left.shape[at]


def numbers(call: FunctionCall) -> set[int]:
    """The whole numbers among a call's arguments."""
    found: set[int] = set()
    todo: list[Any] = [*call.args, *call.kwargs.values()]
    while todo:
        value = todo.pop()
        if type(value) is int:
            found.add(value)
        elif isinstance(value, (tuple, list)):
            todo.extend(value)
        elif isinstance(value, slice):
            todo.extend((value.start, value.stop, value.step))
    return found


def written(call: FunctionCall) -> str:
    """A call in words, its tensors left out: `view(64, -1)`."""
    if call.name == "getitem":
        return segment(call.source) or "an index"
    args = [_word(arg) for arg in call.args if not isinstance(arg, TensorRef)]
    args += [
        f"{key}={_word(value)}"
        for key, value in call.kwargs.items()
        if not isinstance(value, TensorRef)
    ]
    return f"{call.name}({', '.join(args)})"


def _word(value: Any) -> str:
    if isinstance(value, TensorRef):
        return "…"
    if isinstance(value, (tuple, list)):
        inside = ", ".join(_word(part) for part in value)
        return f"[{inside}]" if isinstance(value, list) else f"({inside})"
    return repr(value)


def _is_written(call: FunctionCall, value: int | None) -> bool:
    """Whether the number itself stands in the code, not a name for it."""
    return re.search(rf"\b{value}\b", segment(call.source)) is not None
