"""Layers that are all given the same input, of which only the last is used."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.finding.context import CheckContext
from shapetrace.records import ModuleCall
from shapetrace.signatures import is_loss, kind


def overwritten(context: CheckContext) -> Iterator[tuple[list[ModuleCall], ModuleCall]]:
    """Layers of one list, or of one name and a number each, that are given the same
    input and come to nothing, but for the last one: `for layer in layers: out =
    layer(x)`, also where more is done to each before it is given up."""
    siblings: dict[tuple[object, ...], list[ModuleCall]] = {}
    for call in context.graph.rec.calls:
        inputs = tuple([ref.id for ref in call.inputs])
        prefix = call.name.rstrip("0123456789")
        if prefix != call.name and inputs and not unwatched(call):
            of_list = prefix.endswith(".")
            same = (call.parent, prefix, None if of_list else call.type, inputs)
            siblings.setdefault(same, []).append(call)
    groups = [(key, calls) for key, calls in siblings.items() if len(calls) > 1]
    live = _live(context) if groups else set()
    for key, (*lost, last) in groups:
        if any(_lives(call, live) for call in lost) or not _lives(last, live):
            continue
        if key[2] is None or all(_leads_to(call, last) for call in lost):
            yield lost, last


def unwatched(call: ModuleCall) -> bool:
    """Whether the functions around it are not seen: those that checkpointing runs again
    inside of backward, and those of other threads, escape the function mode."""
    return call.recomputed or call.thread != 0


def _leads_to(one: ModuleCall, last: ModuleCall) -> bool:
    """Whether a layer could be followed by another, by what it makes."""
    made = [ref.shape for ref in one.outputs or ()]
    return made[:1] == [ref.shape for ref in last.inputs][:1]


def _lives(call: ModuleCall, live: set[int]) -> bool:
    return call.outputs is None or any(ref.id in live for ref in call.outputs)


def _live(context: CheckContext) -> set[int]:
    """The tensors that something comes of: a loss, what a model returns, what is read,
    written or kept."""
    rec = context.graph.rec
    todo = [
        ref.id
        for call in rec.calls
        if call.parent is None or call.error is not None
        for ref in (call.outputs or call.inputs)
    ]
    for call in rec.functions:
        ends = not call.outputs or is_loss(call.name) or kind(call.name) == "write"
        if ends or call.name.endswith("_"):
            todo += [ref.id for ref in call.inputs]
    seen = set(todo)
    while todo:
        made = context.graph.producer(todo.pop())
        for ref in made.inputs if made is not None else ():
            if ref.id not in seen:
                seen.add(ref.id)
                todo.append(ref.id)
    return seen
