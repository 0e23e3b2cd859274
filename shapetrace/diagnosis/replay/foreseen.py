"""What comes of the recorded calls where they are given other tensors: once for all
repairs of one failure."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import torch

from shapetrace.diagnosis.detection.expected import clash_text
from shapetrace.diagnosis.detection.mismatch import Mismatch
from shapetrace.diagnosis.replay.called_again import followed
from shapetrace.lineage import Call, Graph, describe
from shapetrace.lineage.form import form_of
from shapetrace.records import FunctionCall, ModuleCall, TensorRef
from shapetrace.signatures import Conflict, foresee, module_function, probe
from shapetrace.signatures.refusal import Refused

Answered = tuple[tuple[Conflict, ...], tuple[tuple[int, ...], ...] | None]

#: calls walked again for all repairs of one failure, and for one of them
_MOST, _MOST_OF_ONE = 8000, 600


class Elsewhere(Exception):
    """The repaired program would fail at another call."""


class Unknown(Exception):
    """What the repaired program does there cannot be told."""


class Foreseen(NamedTuple):
    """What comes of a recorded call that is given other tensors: the call as it is then
    made, and the outputs that are others, or why it cannot be. `guessed`: a number that
    the code computes from a shape was made to follow it."""

    call: FunctionCall
    guessed: bool = False
    changed: tuple[TensorRef, ...] = ()
    clash: Elsewhere | Unknown | None = None
    fails: Elsewhere | Unknown | None = None


class Recorded:
    """What all walks over one recording share: `most` calls are walked, `most_of_one`
    for one repair. `inside`: torch's own layers call by call, none as one function."""

    def __init__(
        self,
        graph: Graph,
        mismatch: Mismatch,
        most: int = _MOST,
        most_of_one: int = _MOST_OF_ONE,
        inside: bool = False,
    ) -> None:
        self.graph = graph
        self.mismatch = mismatch
        self.left = most
        self.most_of_one = most_of_one
        self.inside = inside
        self._units: dict[int, bool] = {}
        self._answers: dict[Any, Answered] = {}
        #: by the call and what it is given
        self.foreseen: dict[Any, Foreseen] = {}

    @cached_property
    def calls_of(self) -> dict[str, list[ModuleCall]]:
        """The calls of each module, in order."""
        found: dict[str, list[ModuleCall]] = {}
        for call in self.graph.rec.calls:
            found.setdefault(call.name, []).append(call)
        return found

    def is_unit(self, layer: ModuleCall) -> bool:
        """Whether a layer of torch's is predicted as one function."""
        known = False if self.inside else self._units.get(layer.index)
        if known is None:
            info = self.graph.rec.modules.get(layer.name)
            known = info is not None and module_function(layer, info) is not None
            self._units[layer.index] = known
        return known

    def answer(self, call: FunctionCall) -> Answered:
        """What disagrees in a call, else the shapes that it gives, None where no rule
        tells: of calls that no rule can tell apart, as in blocks that repeat, once."""
        try:
            form = form_of(call)
        except TypeError:  # an argument that cannot be hashed
            return foresee(call)
        if form not in self._answers:
            self._answers[form] = foresee(call)
        return self._answers[form]

    def foresee(
        self, now: FunctionCall, call: Call, inputs: tuple[TensorRef, ...]
    ) -> Foreseen:
        """What comes of a recorded call that is made so."""
        before, guessed = call.inputs, False
        found, shapes = self.answer(now)
        if found and isinstance(call, FunctionCall) and call.direct:
            following = followed(now, before, inputs)
            if following is not None:
                now, found, guessed = following, (), True
                shapes = self.answer(now)[1]
        if found:
            clash = found[0]
            if clash.name == "index" and clash.right.input is None:
                # a loop over a dimension has as many steps as that
                return Foreseen(now, clash=Unknown())
            name = describe(self.graph, call)[0]
            text = clash_text(name, clash.right.name or clash.name, clash)
            return Foreseen(now, clash=Elsewhere(text))
        try:
            if shapes is None and isinstance(call, FunctionCall):
                shapes = self._on_meta(now, call)
        except Elsewhere as fails:
            return Foreseen(now, guessed, fails=fails)
        if shapes is None or len(shapes) != len(call.outputs or ()):
            return Foreseen(now, guessed, fails=Unknown())
        if any(size < 1 for shape in shapes for size in shape):
            name = describe(self.graph, call)[0]
            text = f"then the input of {name} is too small for its window"
            return Foreseen(now, guessed, fails=Elsewhere(text))
        cast = None
        if before and inputs and before[0].dtype != inputs[0].dtype:
            cast = inputs[0].dtype
        changed = []
        for ref, shape in zip(call.outputs or (), shapes):
            dtype = ref.dtype
            if cast is not None and ref.dtype == before[0].dtype:
                dtype = cast
            if shape != ref.shape or dtype != ref.dtype:
                changed.append(TensorRef(ref.path, ref.id, shape, dtype, ref.device))
        return Foreseen(now, guessed, changed=tuple(changed))

    def _on_meta(self, now: FunctionCall, call: FunctionCall) -> Any:
        """What a function that has no rule makes of other shapes."""
        if call.name == "getitem" and any(r.dtype == torch.bool for r in call.inputs):
            return None  # as many as the mask's values say
        try:
            return probe.run(call, [ref.shape for ref in now.inputs])
        except Refused as error:
            # that the call is to be had on the meta device its recorded shapes have
            # shown
            name = describe(self.graph, call)[0]
            raise Elsewhere(f"then {name} raises {error}") from None
