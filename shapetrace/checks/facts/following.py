"""A tensor's dimensions followed forward, through what is made of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from shapetrace.checks.finding.context import CheckContext
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.signatures import kind

#: for each dimension of a tensor the dimensions of the first one that are in it
Places = tuple[frozenset[int], ...]


class Step(NamedTuple):
    """One call on the way: what it was given of the first tensor, and what it lost."""

    call: FunctionCall
    position: int
    given: TensorRef
    lost: frozenset[int]
    made: TensorRef
    places: Places


def kept(
    context: CheckContext, call: FunctionCall, position: int
) -> list[tuple[int, ...]] | None:
    """For each dimension of a result the dimensions of one operand that are in it;
    None where that is a guess."""
    relation = context.graph.relation(call)
    if not relation.outputs or not all(origin.sure for origin in relation.outputs[0]):
        return None
    return [
        tuple(dim for at, dim in origin.sources if at == position)
        for origin in relation.outputs[0]
    ]


def steps(
    context: CheckContext, ref: TensorRef, places: Places | None = None
) -> Iterator[Step]:
    """The calls that take a tensor, as far as it is known what they do."""
    if places is None:
        places = tuple(frozenset((dim,)) for dim in range(len(ref.shape)))
    for user in context.graph.users.get(ref.id, ()):
        if not isinstance(user, FunctionCall) or not user.outputs:
            continue
        position = next(i for i, one in enumerate(user.inputs) if one.id == ref.id)
        dims = kept(context, user, position)
        if dims is None or len(dims) != len(user.outputs[0].shape):
            continue
        none = frozenset[int]()
        moved = tuple(none.union(*(places[d] for d in group)) for group in dims)
        lost = none.union(*places) - none.union(*moved)
        yield Step(user, position, ref, lost, user.outputs[0], moved)


#: products, steps on the way to one, and what weights go through on it
_PRODUCTS = ("product", "batch_product")
_NEAR = 12
_ON_THE_WAY = ("dropout", "cast", "copy", "view", "transpose", "unit")


def summed_over(context: CheckContext, call: FunctionCall) -> int | None:
    """The dimension of the weights that the products after a softmax sum over; None
    where they are used in any other way, or a sum is over two."""
    weights = (call.outputs or ())[0]
    found: set[int] = set()
    start = tuple(frozenset((dim,)) for dim in range(len(weights.shape)))
    todo = [(weights, start)]
    for _ in range(_NEAR):
        if not todo:
            break
        ref, places = todo.pop()
        for user in context.graph.users.get(ref.id, ()):
            if not isinstance(user, FunctionCall) or not user.outputs:
                continue
            position = next(i for i, one in enumerate(user.inputs) if one.id == ref.id)
            groups = kept(context, user, position)
            if groups is None:
                return None
            if kind(user.name) in _PRODUCTS:
                lost = set(range(len(ref.shape))) - {d for dims in groups for d in dims}
                found |= {dim for at in lost for dim in places[at]}
            elif kind(user.name) in _ON_THE_WAY and position == 0:
                moved = tuple(
                    frozenset().union(*(places[d] for d in dims)) for dims in groups
                )
                todo.append((user.outputs[0], moved))
            else:
                return None
    return found.pop() if len(found) == 1 and not todo else None
