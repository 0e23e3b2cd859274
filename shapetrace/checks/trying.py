"""A fix of a finding, tried: the recording as the mended program would have made it.

Sizes follow from the shape signatures, no code of the user's runs. What cannot be told
stays untried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from shapetrace.diagnosis.called_again import with_inputs
from shapetrace.diagnosis.edits import NO_SUCH_SHAPE, Edit
from shapetrace.records import FunctionCall, Recording, Source, TensorRef
from shapetrace.signatures import broadcasts, kind, predict

#: what is done to one tensor: `("unsqueeze", 1)`, `("permute", (0, 2, 1))`
Step = tuple[str, Any]


def written(steps: tuple[Step, ...]) -> str:
    """The steps as a template, in which `{}` stands for the tensor.

    >>> written((("permute", (0, 2, 1)), ("contiguous", None)))
    '{}.permute(0, 2, 1).contiguous()'
    """
    line = "{}"
    for name, given in steps:
        line += f".{name}({', '.join(map(str, _values(given)))})"
    return line


def _values(given: Any) -> tuple[Any, ...]:
    """What a step is given, as the arguments of a call."""
    return given if isinstance(given, tuple) else () if given is None else (given,)


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


def mended(rec: Recording, change: Change) -> Recording | None:
    """The recording with a change; None where that is not known, where the program
    would stop, or where tensors would be stretched that were not."""
    walk = _Walk(rec, change)
    for call in rec.functions:
        if not walk.pass_(call):
            return None
    calls = tuple(
        replace(
            call,
            inputs=tuple(map(walk.now, call.inputs)),
            outputs=call.outputs and tuple(map(walk.now, call.outputs)),
        )
        for call in rec.calls
    )
    return replace(rec, functions=tuple(walk.calls), calls=calls)


class _Walk:
    """One pass over the calls, each with what it would be given."""

    def __init__(self, rec: Recording, change: Change) -> None:
        self.calls: list[FunctionCall] = []
        self._rec = rec
        self._change = change
        self._now: dict[int, TensorRef] = {}
        #: permuted, and not copied since: a view of them would raise
        self._permuted: set[int] = set()
        self._site = self._place(change.call)

    def _place(self, call: FunctionCall) -> tuple[str, str | Source | None]:
        """Where a call is changed: the layer that makes it, or its line."""
        rebuilt = bool(self._change.settings) and not call.direct
        if rebuilt and call.parent is not None:
            return call.name, self._rec.calls[call.parent].name
        return call.name, call.source

    def now(self, ref: TensorRef) -> TensorRef:
        found = self._now.get(ref.id)
        return ref if found is None else replace(found, path=ref.path)

    def pass_(self, call: FunctionCall) -> bool:
        """Whether the call would go through, and how is known."""
        change, site = self._change, self._place(call) == self._site
        inputs = tuple(map(self.now, call.inputs))
        if site and change.instead:
            return self._replaced(call, inputs)
        if site and change.steps and change.path != "output":
            at = "args[0]" if change.path == "around" else change.path
            found = [self._stepped(call, r) if r.path == at else r for r in inputs]
            if None in found:
                return False
            inputs = tuple(ref for ref in found if ref is not None)
        made = with_inputs(call, inputs)
        if site and change.settings:
            made = _with(made, change.settings)
        if made is not call and not self._follows(made, call, site):
            return False
        if self._permuted and not self._lies(made):
            return False
        self._append(made)
        if site and change.path in ("output", "around"):
            outputs = made.outputs or ()
            one = self._stepped(made, self.now(outputs[0])) if outputs else None
            if one is None:
                return False
            self._now[outputs[0].id] = one
        return True

    def _replaced(self, call: FunctionCall, inputs: tuple[TensorRef, ...]) -> bool:
        """The steps in the place of the call, of which the last makes what it made."""
        outputs = call.outputs or ()
        if not outputs or not inputs:
            return False
        one = self._stepped(call, inputs[0])
        if one is None:
            return False
        self._now[outputs[0].id] = replace(one, path=outputs[0].path)
        return True

    def _follows(self, made: FunctionCall, call: FunctionCall, site: bool) -> bool:
        """Whether the shapes that come of other inputs are known, and nothing is newly
        stretched but where the fix asks for it."""
        if not call.outputs:
            return [r.shape for r in made.inputs] == [r.shape for r in call.inputs]
        shapes = predict(made, tuple(ref.shape for ref in made.inputs))
        if shapes is None or len(shapes) != len(call.outputs):
            return False
        if not site and broadcasts(made) and not broadcasts(call):
            return False
        for ref, shape in zip(call.outputs, shapes, strict=True):
            if shape != ref.shape:
                self._now[ref.id] = replace(ref, shape=shape)
        return True

    def _lies(self, call: FunctionCall) -> bool:
        """Whether the elements of the inputs lie in memory as the call needs them."""
        if not any(ref.id in self._permuted for ref in call.inputs):
            return True
        if call.name in ("view", "view_as"):
            return False
        if kind(call.name) in ("transpose", "unit", "pick", "detach", "expand"):
            self._permuted.update(ref.id for ref in call.outputs or ())
        return True

    def _stepped(self, call: FunctionCall, ref: TensorRef) -> TensorRef | None:
        """A tensor after the steps; None where one fails."""
        path = ref.path
        for name, given in self._change.steps:
            shape = _shape(name, given, ref)
            if shape is None:
                return None
            first = replace(ref, path="args[0]")
            ref = replace(ref, id=-1 - len(self.calls), path="output", shape=shape)
            if name == "permute":
                self._permuted.add(ref.id)
            self._append(
                replace(
                    call,
                    name=name,
                    qualname=f"torch.Tensor.{name}",
                    inputs=(first,),
                    outputs=(ref,),
                    args=(first, *_values(given)),
                    kwargs={},
                    direct=True,
                )
            )
        return replace(ref, path=path)

    def _append(self, call: FunctionCall) -> None:
        at = len(self.calls)
        outputs = call.outputs and tuple(map(self.now, call.outputs))
        if call.index != at or outputs != call.outputs:
            call = replace(call, index=at, outputs=outputs)
        self.calls.append(call)


def _shape(name: str, given: Any, ref: TensorRef) -> tuple[int, ...] | None:
    """The shape that a step makes; None where it cannot be done."""
    if name == "squeeze" and ref.shape[given : given + 1] != (1,):
        return None  # torch leaves it as it is
    edit = Edit(name, lambda tensor: getattr(tensor, name)(*_values(given)))
    try:
        return edit.apply(ref).shape
    except NO_SUCH_SHAPE:
        return None


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
