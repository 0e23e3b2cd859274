"""The recorded calls that a repair touches, walked again in their order with the sizes
that would arise."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from heapq import heappop, heappush
from typing import Any

from shapetrace.diagnosis.called_again import followed, with_inputs
from shapetrace.diagnosis.edits import Edit
from shapetrace.diagnosis.expected import clash_text
from shapetrace.diagnosis.hypothesis import EVER, Repair, Taken
from shapetrace.diagnosis.mismatch import Mismatch
from shapetrace.lineage import Call, Graph, describe
from shapetrace.lineage.form import form_of
from shapetrace.records import FunctionCall, ModuleCall, ModuleInfo, TensorRef
from shapetrace.signatures import (
    Conflict,
    broadcasts,
    foresee,
    inner_function,
    module_function,
    probe,
)

Answered = tuple[tuple[Conflict, ...], tuple[tuple[int, ...], ...] | None]

#: calls walked again for all repairs of one failure, and for one of them
_MOST, _MOST_OF_ONE = 8000, 600
#: calls that show whether a repair goes through, where it is one of many blocks
_SHOWN = 60


class Elsewhere(Exception):
    """The repaired program would fail at another call."""


class Unknown(Exception):
    """What the repaired program does there cannot be told."""


class Long(Unknown):
    """More calls would have to be walked again than are."""


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


class Walk:
    """One pass over the recorded calls that a repair touches, in their order."""

    def __init__(self, recorded: Recorded, repair: Repair) -> None:
        self.graph = recorded.graph
        self.mismatch = recorded.mismatch
        self.repair = repair
        self.recorded = recorded
        #: whether a number that the code computes from a shape was made to follow it
        self.guessed = False
        #: the calls that are made otherwise, in their order, and when they take tensors
        self.made: list[tuple[int, FunctionCall]] = []
        self._now: dict[int, TensorRef] = {}
        self._due: list[tuple[int, bool, int]] = []
        self._queued: set[tuple[bool, int]] = set()
        self._taken: dict[int, list[Taken]] = {}
        for taken in repair.taken:
            self._taken.setdefault(taken.tensor, []).append(taken)
        failing, layer = self.mismatch.call, self.mismatch.layer
        self.order = failing.order
        if failing.index < 0:
            self.order = layer.order if layer is not None else 0

    def go(self) -> None:
        """Up to the call that failed."""
        self._begin()
        self._walk(self.order)

    def go_on(self) -> None:
        """The calls behind it, where the program went on: of many steps the first."""
        try:
            self._walk(EVER)
        except Long:
            pass

    def _begin(self) -> None:
        functions, calls = self.graph.rec.functions, self.graph.rec.calls
        for index in self.repair.calls:
            if index >= 0:
                self._push(functions[index])
        for taken in self.repair.taken:
            for call in self.graph.users.get(taken.tensor, ()):
                order = self._at(call)
                if taken.first <= order <= taken.last:
                    self._push(call)
        for index in self.repair.instead:
            self._push(calls[index])
        for name in self.repair.modules:
            for module in self.recorded.calls_of.get(name, ()):
                self._push(module)

    def _walk(self, until: int) -> None:
        functions, calls = self.graph.rec.functions, self.graph.rec.calls
        most, done = self.recorded.most_of_one, 0
        while self._due and self._due[0][0] < until:
            if done >= most or done > _SHOWN and done + len(self._due) > most:
                raise Long  # it would not come to its end, and what repeats was seen
            _, is_function, index = heappop(self._due)
            self.recorded.left -= 1
            if self.recorded.left < 0:
                raise Unknown
            done += 1
            call = functions[index] if is_function else calls[index]
            if isinstance(call, FunctionCall):
                self._function(call)
            else:
                self._unit(call)

    def _at(self, call: Call) -> int:
        """When a call takes its tensors: one inside of torch's own layer with the
        layer, whose inputs are what the user's code handed over."""
        layer = None if self.recorded.inside else self.graph.layer_of(call)
        return layer.order if layer is not None else call.order

    def _push(self, call: Call) -> None:
        layer = self.graph.layer_of(call)
        if layer is not None and isinstance(call, FunctionCall):
            if self.recorded.is_unit(layer):
                call = layer
        key = (isinstance(call, FunctionCall), call.index)
        if key in self._queued or call.outputs is None:
            return
        if call.order >= self.order and not self.mismatch.silent:
            return
        if layer is not None and self._is_failing(layer):
            return  # that layer is taken as a whole, by `final`
        self._queued.add(key)
        heappush(self._due, (call.order, *key))

    def _is_failing(self, layer: ModuleCall) -> bool:
        failing = self.mismatch.layer
        if failing is None or failing.index != layer.index or self.mismatch.silent:
            return False
        modules = self.graph.rec.modules
        info = modules.get(layer.name)
        return info is not None and inner_function(layer, info, modules) is not None

    @property
    def changed(self) -> set[int]:
        """The tensors that the repaired program has otherwise, or edits."""
        return self._now.keys() | self._taken.keys()

    def now(self, ref: TensorRef) -> TensorRef:
        """A tensor as the repaired program has it."""
        return self._now.get(ref.id, ref)

    def see(self, ref: TensorRef, order: int) -> TensorRef:
        """A tensor as that call would take it."""
        found = self._now.get(ref.id)
        found = ref if found is None else replace(found, path=ref.path)
        for edit in self.edits_of(ref.id, order):
            found = edit.apply(found)
        return found

    def edits_of(self, tensor: int, order: int) -> list[Edit]:
        """What is done to a tensor where that call takes it."""
        return [
            taken.edit
            for taken in self._taken.get(tensor, ())
            if taken.first <= order <= taken.last
        ]

    def _unit(self, call: ModuleCall) -> None:
        """A whole layer of torch's at once."""
        repaired = self._rebuilt(call)
        info = repaired or self.graph.rec.modules[call.name]
        inputs = tuple(self.see(ref, call.order) for ref in call.inputs)
        function = module_function(replace(call, inputs=inputs), info)
        if function is None and repaired is not None:
            raise Unknown
        if function is None:
            return
        self._predicted(function, call, call.inputs, inputs)

    def _rebuilt(self, call: ModuleCall) -> ModuleInfo | None:
        """What the repaired program calls there instead."""
        repair = self.repair
        return repair.instead.get(call.index) or repair.modules.get(call.name)

    def _function(self, call: FunctionCall) -> None:
        if not call.outputs:
            # `x.size(0)` makes no tensor: whoever takes the number is looked at by
            # itself, as with `x.shape`, which is no call
            return
        base = self.repair.calls.get(call.index, call)
        inputs = tuple(self.see(ref, self._at(call)) for ref in base.inputs)
        if base is call and inputs == call.inputs:
            return
        self._predicted(with_inputs(base, inputs), call, call.inputs, inputs)

    def _predicted(
        self,
        now: FunctionCall,
        call: Call,
        before: tuple[TensorRef, ...],
        inputs: tuple[TensorRef, ...],
    ) -> None:
        found, shapes = self.recorded.answer(now)
        if found and isinstance(call, FunctionCall) and call.direct:
            following = followed(now, before, inputs)
            if following is not None:
                now, found, self.guessed = following, (), True
                shapes = self.recorded.answer(now)[1]
        if found:
            clash = found[0]
            if clash.name == "index" and clash.right.input is None:
                raise Unknown  # a loop over a dimension has as many steps as that
            name = describe(self.graph, call)[0]
            raise Elsewhere(clash_text(name, clash.right.name or clash.name, clash))
        if isinstance(call, FunctionCall) and self._stretches_anew(now, call):
            name = describe(self.graph, call)[0]
            raise Elsewhere(f"then {name} stretches its operands")
        if shapes is None and isinstance(call, FunctionCall):
            shapes = self._on_meta(now, call)
        if shapes is None or len(shapes) != len(call.outputs or ()):
            raise Unknown
        if any(size < 1 for shape in shapes for size in shape):
            name = describe(self.graph, call)[0]
            raise Elsewhere(f"then the input of {name} is too small for its window")
        cast = None
        if before and inputs and before[0].dtype != inputs[0].dtype:
            cast = inputs[0].dtype
        for ref, shape in zip(call.outputs or (), shapes):
            dtype = ref.dtype
            if cast is not None and ref.dtype == before[0].dtype:
                dtype = cast
            if shape != ref.shape or dtype != ref.dtype:
                self._now[ref.id] = replace(ref, shape=shape, dtype=dtype)
                for user in self.graph.users.get(ref.id, ()):
                    self._push(user)
        outputs = tuple(map(self.now, call.outputs or ()))
        self.made.append((self._at(call), replace(now, outputs=outputs)))

    def _stretches_anew(self, now: FunctionCall, call: FunctionCall) -> bool:
        """Whether what is mended at one call would happen at another instead."""
        if not self.mismatch.silent or call.index in self.repair.calls:
            return False
        own = [one for ref in call.inputs for one in self._taken.get(ref.id, ())]
        if any(one.first == one.last == call.order for one in own):
            return False
        operands = [{at for at, _, _ in broadcasts(one)} for one in (now, call)]
        return len(operands[0]) > len(operands[1])

    def _on_meta(self, now: FunctionCall, call: FunctionCall) -> Any:
        """What a function that has no rule makes of other shapes."""
        try:
            return probe.run(call, [ref.shape for ref in now.inputs])
        except Exception as error:
            # torch has no type of its own for arguments that do not fit; that the call
            # is to be had on the meta device its recorded shapes have shown
            name = describe(self.graph, call)[0]
            raise Elsewhere(f"then {name} raises {type(error).__name__}") from None

    @cached_property
    def final(self) -> FunctionCall | None:
        """The call that failed, as the repaired program would make it; None where the
        repair does not reach it."""
        failing, layer = self.mismatch.call, self.mismatch.layer
        if layer is not None:
            known = info = self._rebuilt(layer)
            inputs = tuple(self.see(ref, layer.order) for ref in layer.inputs)
            if inputs != layer.inputs:
                # the layer's own Python comes first: nn.MultiheadAttention swaps batch
                # and time of a query with three dimensions, and leaves one with two
                known = info or self.graph.rec.modules.get(layer.name)
            if known is not None:
                now = replace(layer, inputs=inputs)
                made = inner_function(now, known, self.graph.rec.modules)
                if made is not None:
                    return made
            if info is not None:
                return self._rebuilt_inside(info)
        base = self.repair.calls.get(failing.index, failing)
        inputs = tuple(self.see(ref, self.order) for ref in base.inputs)
        if inputs == failing.inputs and base is failing:
            return None
        return with_inputs(base, inputs)

    def _rebuilt_inside(self, info: ModuleInfo) -> FunctionCall:
        """The call that failed inside of a layer, with the parameters of the layer that
        is built instead: a recurrent layer's that was given a packed sequence."""
        failing, layer = self.mismatch.call, self.mismatch.layer
        assert layer is not None
        held = self.graph.rec.modules[layer.name].parameters
        new = {ref.path: ref for ref in info.parameters}
        if failing.index < 0 or {ref.path for ref in held} != new.keys():
            raise Unknown
        shapes = {ref.id: new[ref.path].shape for ref in held}
        inputs = (self.see(ref, self.order) for ref in failing.inputs)
        return with_inputs(
            failing,
            tuple(
                replace(ref, shape=shapes[ref.id]) if ref.id in shapes else ref
                for ref in inputs
            ),
        )
