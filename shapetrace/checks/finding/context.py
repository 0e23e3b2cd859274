"""A trace as the checks look at it: indexed once, asked often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from functools import cached_property

from shapetrace.checks.finding.together import Met, meetings
from shapetrace.checks.finding.trying import Change, repair_of
from shapetrace.diagnosis.hypothesis import Repair
from shapetrace.lineage import Call, Graph
from shapetrace.lineage.dimensions import DATA, PARAMETER, Axes
from shapetrace.lineage.loss_calls import prediction, target
from shapetrace.records import Culprit, Fix, FunctionCall, ModuleCall, TensorRef
from shapetrace.signatures import is_loss, kind, named
from shapetrace.signatures.kinds import RESHAPING, SAME_NUMBERS

#: calls that hand the same numbers on in another order, shape or type
SAME_VALUES = named(*SAME_NUMBERS)
#: those of them after which each is still found at a place of its own
RESHAPES = named(*RESHAPING, "cast") | {"getitem"}


#: calls of one line of one module, of the same shapes, that are looked at
_ALIKE = 32


def plain(name: str) -> str:
    """A function's name without the underscore of its in-place form."""
    return name.rstrip("_")


def _handed_on(call: Call) -> tuple[TensorRef, ...]:
    """The inputs whose numbers a call gives as they are."""
    if not isinstance(call, FunctionCall) or plain(call.name) not in SAME_VALUES:
        return ()
    return call.inputs if kind(call.name) == "join" else call.inputs[:1]


class CheckContext:
    """The graph, its axes and the calls by name.

    A training loop makes the same call in each step: the checks look at the first
    steps, so that what they cost does not grow with the square of them.
    """

    def __init__(self, graph: Graph, asks: bool = True) -> None:
        self.graph = graph
        #: whether it is asked who made a mistake, or only whether there is one
        self.asks = asks
        self.functions = graph.program
        #: of calls that are alike in all that is asked of them, the first ones
        self.by_name: dict[str, list[FunctionCall]] = {}
        alike: Counter[Hashable] = Counter()
        modules = graph.rec.calls
        for call in self.functions:
            parent = None if call.parent is None else modules[call.parent].name
            shapes = tuple([ref.shape for ref in call.inputs])
            form = (call.name, call.source, parent, shapes, call.outputs is None)
            alike[form] += 1
            if alike[form] <= _ALIKE:
                self.by_name.setdefault(plain(call.name), []).append(call)
        #: what was found: a second finding of the same is not told in full
        self.reported: set[Hashable] = set()
        #: what a fix does, by its line and its place, where it can be tried
        self.repairs: dict[Hashable, Repair] = {}
        #: and who is blamed for what it mends
        self.blamed: dict[Hashable, Culprit | None] = {}

    @cached_property
    def axes(self) -> Axes:
        return Axes(self.graph)

    @cached_property
    def meetings(self) -> Met:
        """Which dimensions of different data meet, and where."""
        calls = (call for ones in self.by_name.values() for call in ones)
        return meetings(self.axes, (call for call in calls if len(call.inputs) > 1))

    def calls(self, *names: str) -> list[FunctionCall]:
        """The calls of these functions that ended well, in order."""
        found = [
            call
            for name in names
            for call in self.by_name.get(name, ())
            if call.outputs is not None
        ]
        return found if len(names) == 1 else sorted(found, key=lambda c: c.index)

    def of_kind(self, *kinds: str) -> list[FunctionCall]:
        """The calls of all functions of these kinds that ended well, in order."""
        names = [name for name in self.by_name if kind(name) in kinds]
        return self.calls(*names) if names else []

    @cached_property
    def losses(self) -> list[FunctionCall]:
        """The calls of torch's losses that ended well."""
        names = [name for name in self.by_name if is_loss(name)]
        return self.calls(*names) if names else []

    @cached_property
    def sides(self) -> dict[int, tuple[TensorRef, TensorRef | None]]:
        """Of each loss, by index, the prediction and the target."""
        found = {}
        for call in self.losses:
            sides = []
            for ident in (prediction(call), target(call)):
                refs = (ref for ref in call.inputs if ref.id == ident)
                sides.append(next(refs, None))
            if sides[0] is not None:
                found[call.index] = (sides[0], sides[1])
        return found

    def made_by(self, tensor: int) -> FunctionCall | None:
        """The function call that made a tensor."""
        call = self.graph.producer(tensor)
        return call if isinstance(call, FunctionCall) else None

    def sources_of_values(self, tensor: int) -> list[FunctionCall]:
        """The calls that computed the numbers in a tensor, with all that only hands
        them on left out; none for what came from outside."""
        behind = self.graph.behind(tensor, _handed_on)
        made = [call for _, call in behind if isinstance(call, FunctionCall)]
        computed = [call for call in made if plain(call.name) not in SAME_VALUES]
        return list({call.index: call for call in computed}.values())

    def undressed(self, tensor: int) -> int:
        """The tensor before all that only changed its shape."""
        call = self.made_by(tensor)
        while call is not None and plain(call.name) in RESHAPES and call.inputs:
            tensor = call.inputs[0].id
            call = self.made_by(tensor)
        return tensor

    def follow(self, tensor: int) -> Iterator[tuple[FunctionCall, TensorRef]]:
        """The calls that take a tensor, each with what it makes."""
        for user in self.graph.users.get(tensor, ()):
            if isinstance(user, FunctionCall):
                for ref in user.outputs or ():
                    yield user, ref

    def descendants(self, tensors: Iterable[int]) -> set[int]:
        """Everything that functions made of some tensors, these included."""
        todo = list(tensors)
        seen = set(todo)
        while todo:
            for _, made in self.follow(todo.pop()):
                if made.id not in seen:
                    seen.add(made.id)
                    todo.append(made.id)
        return seen

    def is_raw_data(self, tensor: int) -> bool:
        """Whether no parameter stands behind a tensor."""
        axes = self.axes
        return axes.descends(tensor, DATA) and not axes.descends(tensor, PARAMETER)

    @cached_property
    def module_inputs(self) -> set[int]:
        """Every tensor that entered a module."""
        return set(self.modules_taking)

    @cached_property
    def modules_taking(self) -> dict[int, list[ModuleCall]]:
        """The module calls that a tensor entered."""
        found: dict[int, list[ModuleCall]] = {}
        for call in self.graph.rec.calls:
            for ref in call.inputs:
                found.setdefault(ref.id, []).append(call)
        return found

    @cached_property
    def targets(self) -> set[int]:
        """Every tensor that a loss took as its target."""
        return {pair[1].id for pair in self.sides.values() if pair[1] is not None}

    def trial(self, fix: Fix | None, change: Change) -> Fix | None:
        """A fix that is tried when the finding is told."""
        if fix is not None:
            self.repairs[fix.line, fix.where] = repair_of(self.graph.rec, change)
        return fix

    def layer(self, call: FunctionCall) -> ModuleCall | None:
        return self.graph.layer_of(call)
