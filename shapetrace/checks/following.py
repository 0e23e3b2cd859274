"""A tensor's dimensions followed forward, through what is made of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from shapetrace.checks.context import CheckContext
from shapetrace.records import FunctionCall, TensorRef

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
