"""The recorded calls that a repair touches, walked again in their order with the sizes
that would arise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from heapq import heappop, heappush

from shapetrace.diagnosis.hypothesis import EVER, Repair, Taken
from shapetrace.diagnosis.repair.edits import Edit
from shapetrace.diagnosis.replay.called_again import with_inputs
from shapetrace.diagnosis.replay.foreseen import Elsewhere, Foreseen, Recorded, Unknown
from shapetrace.lineage import Call, describe
from shapetrace.records import FunctionCall, ModuleCall, ModuleInfo, TensorRef
from shapetrace.signatures import (
    broadcasts,
    inner_function,
    module_function,
)

#: calls that show whether a repair goes through, where it is one of many blocks
_SHOWN = 60


class Long(Unknown):
    """More calls would have to be walked again than are."""


class Walk:
    """One pass over the recorded calls that a repair touches, in their order."""

    def __init__(self, recorded: Recorded, repair: Repair) -> None:
        self.graph = recorded.graph
        self.mismatch = recorded.mismatch
        self.repair = repair
        self.recorded = recorded
        #: whether a number that the code computes from a shape was made to follow it
        self.guessed = False
        self._made: list[tuple[int, FunctionCall, tuple[TensorRef, ...]]] = []
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
    def made(self) -> Iterator[tuple[int, FunctionCall]]:
        """The calls that are made otherwise, in their order, and when they take
        tensors."""
        for order, call, outputs in self._made:
            yield order, replace(call, outputs=outputs)

    @property
    def changed(self) -> set[int]:
        """The tensors that the repaired program has otherwise, or edits."""
        return self._now.keys() | self._taken.keys()

    def now(self, ref: TensorRef) -> TensorRef:
        """A tensor as the repaired program has it."""
        return self._now.get(ref.id, ref)

    def see(self, ref: TensorRef, order: int) -> TensorRef:
        """A tensor as that call would take it."""
        return _at_path(self._seen(ref, order), ref)

    def _seen(self, ref: TensorRef, order: int) -> TensorRef:
        """The same, by the path at which it was first seen."""
        found = self._now.get(ref.id, ref)
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

        def made(inputs: tuple[TensorRef, ...]) -> FunctionCall | None:
            return module_function(replace(call, inputs=inputs), info)

        if not self._predicted(call, call.inputs, made, repaired is not None):
            if repaired is not None:
                raise Unknown

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

        def made(inputs: tuple[TensorRef, ...]) -> FunctionCall:
            return with_inputs(base, inputs)

        self._predicted(call, base.inputs, made, base is not call)

    def _predicted(
        self,
        call: Call,
        given: tuple[TensorRef, ...],
        make: Callable[[tuple[TensorRef, ...]], FunctionCall | None],
        otherwise: bool,
    ) -> bool:
        """Take a call as the repaired program makes it of what it is given; whether
        there is such a call. What comes of one that is not itself made `otherwise` is
        the same in all walks in which it is given the same."""
        order = self._at(call)
        seen = tuple([self._seen(ref, order) for ref in given])
        form = tuple([(ref.shape, ref.dtype, ref.device) for ref in seen])
        is_function = isinstance(call, FunctionCall)
        if not otherwise and is_function:
            if form == tuple([(ref.shape, ref.dtype, ref.device) for ref in given]):
                return True
        key = (is_function, call.index, form)
        known = self.recorded.foreseen
        found = None if otherwise else known.get(key)
        if found is None:
            inputs = tuple(map(_at_path, seen, given))
            now = make(inputs)
            if now is None:
                return False
            found = self.recorded.foresee(now, call, inputs)
            if not otherwise:
                known[key] = found
        self._take(found, call)
        return True

    def _take(self, found: Foreseen, call: Call) -> None:
        """Go on with what comes of a call."""
        self.guessed = self.guessed or found.guessed
        if found.clash is not None:
            raise _anew(found.clash)
        if isinstance(call, FunctionCall) and self._stretches_anew(found.call, call):
            name = describe(self.graph, call)[0]
            raise Elsewhere(f"then {name} stretches its operands")
        if found.fails is not None:
            raise _anew(found.fails)
        for ref in found.changed:
            self._now[ref.id] = ref
            for user in self.graph.users.get(ref.id, ()):
                self._push(user)
        outputs = tuple(map(self.now, call.outputs or ()))
        self._made.append((self._at(call), found.call, outputs))

    def _stretches_anew(self, now: FunctionCall, call: FunctionCall) -> bool:
        """Whether what is mended at one call would happen at another instead."""
        if not self.mismatch.silent or call.index in self.repair.calls:
            return False
        own = [one for ref in call.inputs for one in self._taken.get(ref.id, ())]
        if any(one.first == one.last == call.order for one in own):
            return False
        operands = [{at for at, _, _ in broadcasts(one)} for one in (now, call)]
        return len(operands[0]) > len(operands[1])

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


def _at_path(found: TensorRef, ref: TensorRef) -> TensorRef:
    """A tensor in the place of another one among the inputs of a call."""
    if found.path == ref.path:
        return found
    # for every tensor of every call that is walked: `replace` takes three times as long
    return TensorRef(ref.path, found.id, found.shape, found.dtype, found.device)


def _anew(error: Elsewhere | Unknown) -> Exception:
    """The same error: one that is raised again and again would keep all the ways."""
    return type(error)(*error.args)
