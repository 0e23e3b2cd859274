"""A fix of a finding, tried: the recording as the mended program would have made it.

Sizes follow from the shape signatures, no code of the user's runs. What cannot be told
stays untried.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from shapetrace.diagnosis.called_again import with_inputs
from shapetrace.records import FunctionCall, Recording, TensorRef
from shapetrace.signatures import broadcasts, predict


class Change(NamedTuple):
    """What a fix does to a call, and to all of its line: a tensor that it takes is
    squeezed or unsqueezed first, or, where `path` is empty, what it makes is so, or the
    call is left out. With no `name` the call itself runs over another dimension."""

    call: FunctionCall
    path: str
    name: str
    dim: int


def mended(rec: Recording, change: Change) -> Recording | None:
    """The recording with a change; None where that is not known, where the program
    would stop, or where tensors would be stretched that were not."""
    walk = _Walk(change)
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

    def __init__(self, change: Change) -> None:
        self.calls: list[FunctionCall] = []
        self._change = change
        self._now: dict[int, TensorRef] = {}

    def now(self, ref: TensorRef) -> TensorRef:
        found = self._now.get(ref.id)
        return ref if found is None else replace(found, path=ref.path)

    def pass_(self, call: FunctionCall) -> bool:
        """Whether the call would go through, and how is known."""
        change, known = self._change, self._change.call
        inputs = tuple(map(self.now, call.inputs))
        site = (call.name, call.source) == (known.name, known.source)
        if site and change.name and change.path:
            found = [self._changed(call, ref, change.path) for ref in inputs]
            if None in found:
                return False
            inputs = tuple(ref for ref in found if ref is not None)
        made = with_inputs(call, inputs)
        if site and not change.name:
            made = _along(made, change.dim)
        if made is not call and not self._follows(made, call, site):
            return False
        if site and change.name == "leave out":
            self._now[(made.outputs or ())[0].id] = made.inputs[0]
            return True
        self._append(made)
        if site and change.name and not change.path:
            outputs = made.outputs or ()
            one = self._changed(made, outputs[0], "output") if outputs else None
            if one is None:
                return False
            self._now[outputs[0].id] = one
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

    def _changed(
        self, call: FunctionCall, ref: TensorRef, path: str
    ) -> TensorRef | None:
        """A tensor, changed where it has that path; None where it cannot be."""
        if ref.path != path:
            return ref
        dim, shape = self._change.dim, list(ref.shape)
        if self._change.name == "unsqueeze":
            shape.insert(dim, 1)
        elif dim < len(shape) and shape[dim] == 1:
            del shape[dim]
        else:
            return None
        first = replace(ref, path="args[0]")
        made = replace(ref, id=-1 - len(self.calls), path="output", shape=tuple(shape))
        self._append(
            replace(
                call,
                name=self._change.name,
                qualname=f"torch.Tensor.{self._change.name}",
                inputs=(first,),
                outputs=(made,),
                args=(first, dim),
                kwargs={},
            )
        )
        return replace(made, path=path)

    def _append(self, call: FunctionCall) -> None:
        at = len(self.calls)
        outputs = call.outputs and tuple(map(self.now, call.outputs))
        if call.index != at or outputs != call.outputs:
            call = replace(call, index=at, outputs=outputs)
        self.calls.append(call)


def _along(call: FunctionCall, dim: int) -> FunctionCall:
    """The call with another `dim`, which it is given by its name from now on."""
    args = call.args
    place = 2 if call.name == "normalize" else 1
    if "dim" not in call.kwargs and len(args) > place:
        return replace(call, args=(*args[:place], dim, *args[place + 1 :]))
    return replace(call, kwargs={**call.kwargs, "dim": dim})
