"""A fix of a finding, tried: the recording as the mended program would have made it.

Sizes follow from the shape signatures, no code of the user's runs. What cannot be told
stays untried.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from shapetrace.diagnosis.detection.mismatch import Mismatch
from shapetrace.diagnosis.hypothesis import Repair, Taken
from shapetrace.diagnosis.repair.changes import method
from shapetrace.diagnosis.repair.edits import NO_SUCH_SHAPE, Edit, Step
from shapetrace.diagnosis.repair.stepwise import given, stepwise
from shapetrace.diagnosis.replay.called_again import with_inputs
from shapetrace.diagnosis.replay.foreseen import Elsewhere, Recorded, Unknown
from shapetrace.diagnosis.replay.walk import Walk
from shapetrace.lineage import Graph
from shapetrace.records import FunctionCall, Recording, Source, TensorRef
from shapetrace.signatures import kind


class Change(NamedTuple):
    """What a fix does to a call, to all of its line, and to all that the same layer
    makes where that is built anew.

    `steps` are done to the tensor at `path`, which is that of one of its inputs,
    `output`, or `around` for the first input and the output; with `instead`, to its
    first input in the place of the call, which without steps is left out. `settings`
    are arguments that it is given by their names.
    """

    call: FunctionCall
    path: str = ""
    steps: tuple[Step, ...] = ()
    instead: bool = False
    settings: Mapping[str, Any] = {}


def repair_of(rec: Recording, change: Change) -> Repair:
    """A change of a call as that of all calls that it is one of."""
    taken: list[Taken] = []
    calls: dict[int, FunctionCall] = {}
    site, edit = _place(rec, change, change.call), stepwise(*change.steps)
    for call in rec.functions:
        if not call.outputs or not call.inputs or _place(rec, change, call) != site:
            continue
        if change.settings:
            calls[call.index] = _with(call, change.settings)
        if change.instead:
            first, *more = change.steps or (("clone", None),)
            calls[call.index] = method(call, first[0], *given(first))
            if more:
                taken.append(Taken(call.outputs[0].id, stepwise(*more)))
            continue
        if change.path in ("output", "around"):
            taken.append(Taken(call.outputs[0].id, edit))
        at = "args[0]" if change.path == "around" else change.path
        for ref in call.inputs:
            if change.steps and ref.path == at:
                taken.append(Taken(ref.id, edit, call.order, call.order))
    return Repair(taken=tuple(taken), calls=calls)


def _place(
    rec: Recording, change: Change, call: FunctionCall
) -> tuple[str, str | Source | None]:
    """Where a call is changed: the layer that makes it, or its line."""
    rebuilt = bool(change.settings) and not call.direct
    if rebuilt and call.parent is not None:
        return call.name, rec.calls[call.parent].name
    return call.name, call.source


def joined(repairs: Iterable[Repair]) -> Repair:
    """What several repairs of one recording do."""
    taken: list[Taken] = []
    calls: dict[int, FunctionCall] = {}
    for repair in repairs:
        taken += [one for one in repair.taken if one not in taken]
        calls |= repair.calls
    return Repair(taken=tuple(taken), calls=calls)


def mended(graph: Graph, repair: Repair) -> Recording | None:
    """The recording with a repair; None where that is not known, where the program
    would stop, or where tensors would be stretched that were not."""
    rec = graph.rec
    if repair.modules or repair.instead or repair.back is not None:
        return None
    nowhere = Mismatch("other", rec.functions[0], None, silent=True)
    every = len(rec.functions) + len(rec.calls)
    walk = Walk(Recorded(graph, nowhere, every, every, inside=True), repair)
    try:
        walk.go()
        walk.go_on()
        return None if walk.guessed else _Mended(walk).recording()
    except (Elsewhere, Unknown, *NO_SUCH_SHAPE):
        return None


class _Mended:
    """The calls that a walk went over, with those that are put in between."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._changed = walk.changed
        self._calls: list[FunctionCall] = []
        #: tensors by what they were and what was done to them
        self._edited: dict[tuple[int, int], TensorRef] = {}
        #: permuted, and not copied since: a view of them would raise
        self._permuted: set[int] = set()

    def recording(self) -> Recording:
        walk, rec = self._walk, self._walk.graph.rec
        for call in rec.functions:
            if not self._touches(call):
                self._append(call)
                continue
            base = walk.repair.calls.get(call.index, call)
            inputs = tuple([self._taken(ref, call) for ref in base.inputs])
            made = with_inputs(base, inputs)
            if not call.outputs and _shapes(made) != _shapes(call):
                raise Unknown  # what is done with a size, or a gradient of that shape
            outputs = call.outputs and tuple(map(self._now, call.outputs))
            self._lies(made)
            self._append(replace(made, outputs=outputs))
        calls = tuple(
            replace(
                call,
                inputs=tuple([self._seen(ref, call.order) for ref in call.inputs]),
                outputs=call.outputs
                and tuple([self._seen(ref, call.end_order) for ref in call.outputs]),
            )
            for call in rec.calls
        )
        return replace(rec, functions=tuple(self._calls), calls=calls)

    def _touches(self, call: FunctionCall) -> bool:
        """Whether a call would be another; most of a long program would not."""
        refs = (*call.inputs, *(call.outputs or ()))
        return call.index in self._walk.repair.calls or any(
            ref.id in self._changed or ref.id in self._permuted for ref in refs
        )

    def _now(self, ref: TensorRef) -> TensorRef:
        return replace(self._walk.now(ref), path=ref.path)

    def _seen(self, ref: TensorRef, order: int) -> TensorRef:
        """A tensor as a module is given it, or gives it."""
        found = self._now(ref)
        for edit in self._walk.edits_of(ref.id, order):
            found = self._edited.get((found.id, id(edit)), found)
        return replace(found, path=ref.path)

    def _taken(self, ref: TensorRef, call: FunctionCall) -> TensorRef:
        """A tensor as a call takes it, with what is done to it put in before."""
        found = self._now(ref)
        for edit in self._walk.edits_of(ref.id, call.order):
            key = found.id, id(edit)
            if key not in self._edited:
                self._edited[key] = self._put_in(edit, found, call)
            found = self._edited[key]
        return replace(found, path=ref.path)

    def _put_in(self, edit: Edit, ref: TensorRef, call: FunctionCall) -> TensorRef:
        """A tensor after an edit, call by call."""
        if not edit.steps:
            raise Unknown
        for step in edit.steps:
            first = replace(ref, path="args[0]")
            made = replace(stepwise(step).apply(first), path="output")
            made = replace(made, id=-1 - len(self._calls))
            new = replace(
                method(replace(call, inputs=(first,)), step[0], *given(step)),
                outputs=(made,),
                direct=True,
            )
            if step[0] == "permute":
                self._permuted.add(made.id)
            self._append(new)
            ref = made
        return ref

    def _lies(self, call: FunctionCall) -> None:
        """Raises where the elements do not lie in memory as a view needs them."""
        if not any(ref.id in self._permuted for ref in call.inputs):
            return
        if call.name in ("view", "view_as"):
            raise Elsewhere
        if kind(call.name) in ("transpose", "unit", "pick", "detach", "expand"):
            self._permuted.update(ref.id for ref in call.outputs or ())

    def _append(self, call: FunctionCall) -> None:
        at = len(self._calls)
        self._calls.append(call if call.index == at else replace(call, index=at))


def _shapes(call: FunctionCall) -> list[tuple[int, ...]]:
    return [ref.shape for ref in call.inputs]


#: the place of what is given by its name alone
_BY_NAME = 1 << 16


def _with(call: FunctionCall, settings: Mapping[str, Any]) -> FunctionCall:
    """The call with other arguments, each in its place where it stands there."""
    args, kwargs = call.args, call.kwargs
    for name, value in settings.items():
        place = place_of(call.name, name)
        if name not in kwargs and len(args) > place:
            args = (*args[:place], value, *args[place + 1 :])
        else:
            kwargs = {**kwargs, name: value}
    return replace(call, args=args, kwargs=kwargs)


def place_of(function: str, name: str) -> int:
    """Where a function takes an argument, its tensor being the first: a norm takes an
    exponent before its `dim`, and a similarity a second tensor.

    >>> place_of("softmax", "dim"), place_of("normalize", "dim")
    (1, 2)
    """
    behind = "norm" in function or kind(function) == "distance"
    if name not in ("dim", "normalized_shape", "index"):
        return _BY_NAME
    return 2 if name == "dim" and behind else 1
