"""One failure and what is asked of it again and again: the calls behind it, the places
that look like it, and hypotheses with the lines that would say them."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from functools import cached_property
from typing import Any, NamedTuple

from shapetrace.diagnosis.detection.assumed import assumed
from shapetrace.diagnosis.detection.mismatch import Mismatch, Spot
from shapetrace.diagnosis.hypothesis import Hypothesis, Repair, Site
from shapetrace.diagnosis.replay.replay import Replay
from shapetrace.diagnosis.sites import (
    owner,
    site_of_call,
    site_of_maker,
    site_of_module,
    site_of_tensor,
    stretched_since,
    unsliced,
)
from shapetrace.diagnosis.sizes.factors import Factors, factors
from shapetrace.diagnosis.sizes.leaves import changers, every_part
from shapetrace.lineage import Call, GoodBatch, Graph, last_good
from shapetrace.lineage.loss_calls import sides
from shapetrace.records import FunctionCall, ModuleCall, Source, TensorRef
from shapetrace.signatures import broadcasts, parameter_of
from shapetrace.source.called import calls_itself, module_path
from shapetrace.source.sizes import Size, sizes_at, spelled_size
from shapetrace.source.tree import is_own

#: calls behind a failure that are looked at, the nearest first
_BEHIND = 120


class Behind(NamedTuple):
    """A call behind the failure: what it made of it, and how many calls lie between."""

    call: Call
    tensor: int
    hops: int


class Case:
    """A mismatch in its recording."""

    def __init__(self, graph: Graph, mismatch: Mismatch) -> None:
        self.graph = graph
        self.mismatch = mismatch
        self.replay = Replay(graph, mismatch)
        self.call = mismatch.call
        self.layer = mismatch.layer
        #: mistakes of our own, each part's first: the explanation lacks what they cost
        self.faults: dict[str, Exception] = {}
        #: what `once` keeps
        self.answers: dict[object, Any] = {}
        self._sizes: dict[tuple[bool, int], list[Size]] = {}
        self._sites: dict[int, Site] = {}
        self.prediction, self.target = (
            sides(graph, self.call) if mismatch.loss else (None, None)
        )

    def fault(self, part: str, error: Exception) -> None:
        """Note that a part of the explanation failed, so that it is told."""
        self.faults.setdefault(part, error)

    # -- what is known ----------------------------------------------------------------

    @cached_property
    def behind(self) -> tuple[Behind, ...]:
        """The calls behind the failing one, nearest first, a layer as one call."""
        found: list[Behind] = []
        seen: set[tuple[bool, int]] = set()
        todo = deque((ref.id, 0) for ref in self.operands)
        while todo and len(found) < _BEHIND:
            tensor, hops = todo.popleft()
            made = self.graph.producer(tensor)
            if made is None or made.index < 0:
                continue
            layer = self.graph.layer_of(made)
            if layer is not None and self.replay.is_unit(layer):
                made = layer
            key = (isinstance(made, FunctionCall), made.index)
            if key in seen:
                continue
            seen.add(key)
            found.append(Behind(made, tensor, hops))
            if self.graph.library_data(tensor) is not None:
                continue  # what that called within itself is nobody's mistake
            for ref in made.inputs:
                if not self.graph.is_parameter(ref.id):
                    todo.append((ref.id, hops + 1))
        return tuple(found)

    @cached_property
    def assumed(self) -> list[tuple[Spot, int]]:
        """The dimensions behind the failing call that were taken to be 1."""
        return assumed(behind.call for behind in self.behind)

    @cached_property
    def passed(self) -> set[int]:
        """The functions that the sizes that disagree came through, by their index."""
        found: set[int] = set()
        for spot in self.mismatch.spots:
            if spot.tensor is None:
                continue
            rank = len(self.graph.tensors[spot.tensor].shape)
            for dim in range(rank) if spot.dim is None else [spot.dim]:
                for leaf in every_part(self.graph, spot.tensor, dim):
                    calls = [hop.call for hop in leaf.hops]
                    found |= {c.index for c in calls if isinstance(c, FunctionCall)}
        return found

    @cached_property
    def operands(self) -> tuple[TensorRef, ...]:
        """The tensors that the failing call, or the layer that made it, was given."""
        given = self.call.inputs if self.layer is None else self.layer.inputs
        if self.layer is not None:
            own = {ref.id for ref in given}
            more = [
                ref
                for ref in self.call.inputs
                if ref.id not in own and not self.graph.is_parameter(ref.id)
            ]
            given = (*given, *more)
        return tuple(given)

    @cached_property
    def earlier(self) -> GoodBatch | None:
        """The last time that the failing call went well, in an earlier batch. A layer
        that found its arguments wrong failed before it called a function."""
        call = self.layer if self.call.index < 0 else self.call
        found = last_good(self.graph, call) if call is not None else None
        if found is not None and self.mismatch.silent:
            # a batch that stretched its operands too did not go well
            then = found.call
            return (
                None if isinstance(then, FunctionCall) and broadcasts(then) else found
            )
        return found

    @property
    def indices(self) -> tuple[int, int] | None:
        """The least and the largest of the indices that do not fit, where known."""
        left = self.mismatch.left
        if self.mismatch.kind != "range" or left is None or left.tensor is None:
            return None
        return self.graph.rec.value_ranges.get(left.tensor)

    @cached_property
    def factors(self) -> tuple[Factors, Factors]:
        """What the left and the right side are made of."""
        left, right = factors(self.graph, self.mismatch)
        spots = (self.mismatch.left, self.mismatch.right)
        target = [
            spot is not None and spot.tensor is not None and self.is_target(spot.tensor)
            for spot in spots
        ]
        return left._replace(target=target[0]), right._replace(target=target[1])

    @cached_property
    def makers(self) -> tuple[list[Hypothesis], list[Hypothesis]]:
        """Who made of the left and of the right side what the other has not."""
        found: list[list[Hypothesis]] = []
        spots = (self.mismatch.right, self.mismatch.left)
        for own, other, spot in zip(self.factors, self.factors[::-1], spots):
            fits = spot.size if spot is not None and spot.dim is not None else None
            # what has nothing that the other side has not, and that more, made none odd
            rest = other.odd and own.shared and not own.odd
            found.append([] if rest else own.makers(self.graph, fits))
        return found[0], found[1]

    def hops(self, tensor: int) -> int:
        return next((b.hops for b in self.behind if b.tensor == tensor), 0)

    def call_of(self, site: Site) -> FunctionCall | None:
        """The call of the user's that a site is, the failing one or one behind it."""
        if site.kind != "function":
            return None
        return self._calls_at.get(site.place)

    @cached_property
    def _calls_at(self) -> dict[object, FunctionCall]:
        """The user's calls, the failing one and those behind it, by their places."""
        found: dict[object, FunctionCall] = {}
        for call in (self.call, *(behind.call for behind in self.behind)):
            if isinstance(call, FunctionCall) and call.direct:
                found.setdefault(site_of_call(self.graph, call).place, call)
        return found

    def changed_calls(
        self, repair: Repair | None
    ) -> Iterator[tuple[FunctionCall, FunctionCall]]:
        """The recorded calls that a repair makes otherwise, each with the new one."""
        functions = self.graph.rec.functions
        for at, new in repair.calls.items() if repair is not None else ():
            if 0 <= at < len(functions):
                yield functions[at], new

    def is_target(self, tensor: int) -> bool:
        """Whether a tensor goes to the loss as its target, also through other calls."""
        if self.target is None:
            return False
        if tensor == self.target.id:
            return True
        if tensor in self._behind_prediction:
            return False  # the model has it too: what the loss takes was made of it
        return any(made == tensor for made, _ in self.graph.chain(self.target.id)) or (
            tensor in self._behind_target
        )

    @cached_property
    def _behind_prediction(self) -> set[int]:
        own = self.prediction
        return set() if own is None else self.graph.ancestors(own.id)

    @cached_property
    def _behind_target(self) -> set[int]:
        if self.target is None or self.graph.from_model(self.target.id):
            return set()
        return {
            ref.id
            for _, call in self.graph.chain(self.target.id)
            for ref in call.inputs
        }

    def site_of(self, tensor: int) -> Site:
        if tensor not in self._sites:
            silent, graph = self.mismatch.silent, self.graph
            at = stretched_since(graph, tensor) if silent else tensor
            site = site_of_tensor(graph, at, target=self.is_target(at))
            self._sites[tensor] = site
        return self._sites[tensor]

    def site_of_missing(self, tensor: int) -> Site:
        """Who lacks a call that is put in where the failing one takes a tensor: what a
        layer made is as it should be, and whoever takes it as it is, is not."""
        if self.graph.is_parameter(tensor):
            if self.layer is None:
                return site_of_call(self.graph, self.call)
            holder = self.graph.rec.modules.get(owner(self.graph, tensor) or "")
            if holder is None or holder.qualname.startswith("torch.nn.modules."):
                return site_of_module(self.layer)
            return self.site_named(holder.name)
        # who takes a part of data did not make its layout
        own = not self.mismatch.loss and self.graph.from_model(tensor)
        site = self.site_of(tensor if own else unsliced(self.graph, tensor))
        if site.kind != "module" or self.mismatch.loss or self.mismatch.silent:
            return site
        if self.layer is not None:
            return site_of_module(self.layer)
        return site_of_call(self.graph, self.call)

    def site_of_result(self, call: Call, made: int) -> Site:
        """Whose result it is that would have to be another: of data, and of a part of
        it, whoever gave the data."""
        if self.graph.library_data(made) is not None:
            return self.site_of(made)
        whole = unsliced(self.graph, made)
        if whole != made and not self.graph.from_model(made):
            return self.site_of(whole)
        return site_of_call(self.graph, call)

    def alike(self, call: FunctionCall) -> list[FunctionCall]:
        """The calls of the same line, this one first: what is written there once is
        changed for all of them."""
        if call.source is None:
            return [call]
        return [call] + [
            other
            for other in self._by_place.get((call.name, call.source), ())
            if other.index != call.index
        ]

    def calls_of_line(self, call: ModuleCall) -> list[ModuleCall]:
        """The calls of modules by the same expression, as in a loop over layers."""
        found = [call]
        for other in self.graph.rec.calls:
            if other.index != call.index and other.source == call.source:
                above = self.graph.module_of(other)
                if call.source is not None and (
                    above is None or above.source != call.source
                ):
                    found.append(other)
        return found

    @cached_property
    def _by_place(self) -> dict[tuple[str, Source], list[FunctionCall]]:
        found: dict[tuple[str, Source], list[FunctionCall]] = {}
        for call in self.graph.rec.functions:
            if call.source is not None and call.direct and call.outputs is not None:
                found.setdefault((call.name, call.source), []).append(call)
        return found

    def site_of_size(self, tensor: int, dim: int) -> Site:
        """Who gave a dimension its size: calls that carry it on are passed over."""
        trail = self.graph.trail(tensor, dim)
        changed, end = changers(trail.hops), trail.end
        if changed and end.kind != "branch" and changed[0].call.inputs:
            if not any(side.shared for side in self.factors):
                return site_of_maker(self.graph, changed[0].call)
        if end.kind in ("data", "argument") and end.call is not None:
            made = end.call
            if made.index >= 0 and (made.inputs or made.parent is not None):
                if self.graph.library_data(end.tensor) is None:
                    return site_of_call(self.graph, made)
        return self.site_of(end.tensor if end.kind == "data" else tensor)

    def written(self, layer: ModuleCall, tensor: int) -> ModuleCall | None:
        """The call that the user wrote and that hands this tensor to a layer: itself,
        or a container around it whose input it is."""
        calls = self.graph.rec.calls
        found = layer
        while found.parent is not None:
            above = calls[found.parent]
            if above.source != found.source and is_own(found.source):
                break
            found = above
        return found if any(ref.id == tensor for ref in found.inputs) else None

    def names_its_input(self, module: ModuleCall, tensor: int) -> bool:
        """Whether the line of a module's call names its argument: inside an
        nn.Sequential the line is that of the Sequential's call, and names what that was
        given."""
        while module.parent is not None:
            above = self.graph.rec.calls[module.parent]
            if above.source != module.source:
                return True
            if all(ref.id != tensor for ref in above.inputs):
                return False
            module = above
        return calls_itself(self.graph.rec, module)

    def root(self) -> ModuleCall | None:
        """The model's call around the failing one, or the one that came before it."""
        top = self.layer or self.graph.module_of(self.call)
        while top is not None and top.parent is not None:
            top = self.graph.rec.calls[top.parent]
        if top is None:
            roots = [call for call in self.graph.rec.calls if call.parent is None]
            top = roots[-1] if roots else None
        return top

    def role(self, ref: TensorRef) -> str:
        """What a tensor is called where the line that names it is not to be seen."""
        if self.target is not None and self.target.id == ref.id:
            return "target"
        if self.prediction is not None and self.prediction.id == ref.id:
            return "prediction"
        if self.mismatch.loss:
            return parameter_of(self.call, ref) or "x"
        return "x"

    def spelled_size(
        self, call: Call, size: int, same: Collection[tuple[int, int]] = ()
    ) -> str | None:
        """How the code around a call can say a size, by the names that it has there;
        `same`: tensors with a dimension that is known to be the wanted one."""
        key = (isinstance(call, FunctionCall), call.index)
        ways = self._sizes.get(key)
        if ways is None:
            ways = self._sizes[key] = sizes_at(self.graph.rec, call)
        return spelled_size(ways, size, same)

    def site_named(self, name: str) -> Site:
        calls = self.replay.calls_of.get(name)
        return Site("module", name, name, calls[-1].source if calls else None)

    def hops_to(self, name: str) -> int:
        return next(
            (
                b.hops
                for b in self.behind
                if isinstance(b.call, ModuleCall) and b.call.name == name
            ),
            0,
        )

    def path(self, name: str) -> str:
        return module_path(self.graph.rec, name)
