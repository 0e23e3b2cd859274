"""Pure walks over a recording: which call made a tensor, and where a size comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from shapetrace.records import (
    FunctionCall,
    ModuleCall,
    Origin,
    Recording,
    Step,
    TensorRef,
)
from shapetrace.signatures import DimOrigin, Relation, relate, relate_module

Call: TypeAlias = FunctionCall | ModuleCall

_GUESS = Relation((), {}, guessed=True)
#: a walk longer than this is cut: no explanation needs more, and it is linear
_LONGEST = 200_000


@dataclass(frozen=True, slots=True)
class Hop:
    """One step back: `call` made dimension `dim` of tensor `tensor` as `origin` says."""

    tensor: int
    dim: int
    call: Call
    origin: DimOrigin


@dataclass(frozen=True, slots=True)
class End:
    """Where a size begins.

    `kind`: "parameter" (dimension `dim` of a weight), "data" (a tensor from outside or
    made by a factory such as torch.randn), "argument" (a number in the code), "new"
    (a dimension of size 1 or a count), "values", "branch" (made of several, see
    `sources`) or "unknown". `call` is the call that begins it, if any.
    """

    kind: Literal[
        "parameter", "data", "argument", "new", "values", "branch", "unknown"
    ]
    tensor: int
    dim: int
    call: Call | None = None
    origin: DimOrigin | None = None
    sources: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Trail:
    """The way back of one dimension, newest first, and where it ends."""

    hops: tuple[Hop, ...]
    end: End

    @property
    def sure(self) -> bool:
        return all(hop.origin.sure for hop in self.hops)


class Graph:
    """An index over a recording: producers, users and relations, found on demand."""

    def __init__(self, rec: Recording) -> None:
        self.rec = rec
        self._relations: dict[tuple[bool, int], Relation] = {}
        self._from_model: dict[int, bool] = {}

    @cached_property
    def tensors(self) -> dict[int, TensorRef]:
        """Every tensor of the trace, as it was first seen."""
        found: dict[int, TensorRef] = {}
        for call in (*self.rec.functions, *self.rec.calls):
            for ref in (*call.inputs, *(call.outputs or ())):
                found.setdefault(ref.id, ref)
        for info in self.rec.modules.values():
            for ref in (*info.parameters, *info.buffers):
                found.setdefault(ref.id, ref)
        return found

    @cached_property
    def _producers(self) -> dict[int, Call]:
        made: dict[int, Call] = {}
        for call in self.rec.functions:
            for ref in call.outputs or ():
                made.setdefault(ref.id, call)
        # innermost first: a later end is further out
        for module in sorted(self.rec.calls, key=lambda call: call.end_order):
            inputs = {ref.id for ref in module.inputs}
            for ref in module.outputs or ():
                if ref.id not in inputs and ref.id not in self.rec.origins:
                    made.setdefault(ref.id, module)
        return made

    @cached_property
    def users(self) -> dict[int, list[Call]]:
        """The calls that took a tensor, in order; with functions, functions only."""
        taken: dict[int, list[Call]] = {}
        calls: tuple[Call, ...] = self.rec.functions
        if not self.rec.has_functions:
            calls = self.rec.calls
        for call in calls:
            for ref in call.inputs:
                taken.setdefault(ref.id, []).append(call)
        return taken

    def producer(self, tensor: int) -> Call | None:
        return self._producers.get(tensor)

    def origin(self, tensor: int) -> Origin | None:
        return self.rec.origins.get(tensor)

    def relation(self, call: Call) -> Relation:
        is_function = isinstance(call, FunctionCall)
        key = (is_function, call.index)
        if key not in self._relations:
            if isinstance(call, FunctionCall):
                self._relations[key] = relate(call)
            else:
                self._relations[key] = relate_module(call, self.rec.modules.get(call.name))
        return self._relations[key]

    def module_of(self, call: Call) -> ModuleCall | None:
        """The module call in whose forward a call was made."""
        return None if call.parent is None else self.rec.calls[call.parent]

    def layer_of(self, call: Call) -> ModuleCall | None:
        """The layer that a call stands for: torch's own layer that made it, or the
        module call itself; None for a function that the user's code called."""
        if isinstance(call, ModuleCall):
            return call
        return None if call.direct else self.module_of(call)

    def dim_origin(self, tensor: int, dim: int) -> tuple[Call, DimOrigin] | None:
        """The call that made a tensor and what it did for one dimension."""
        call = self.producer(tensor)
        if call is None:
            return None
        relation = self.relation(call)
        for position, ref in enumerate(call.outputs or ()):
            if ref.id == tensor:
                if position < len(relation.outputs):
                    dims = relation.outputs[position]
                    if dim < len(dims):
                        return call, dims[dim]
                break
        return call, DimOrigin("guess", sure=False)

    def source_ids(self, call: Call, origin: DimOrigin) -> tuple[tuple[int, int], ...]:
        """The sources of a dimension as (tensor id, dimension) pairs."""
        return tuple(
            (call.inputs[position].id, dim)
            for position, dim in origin.sources
            if position < len(call.inputs)
        )

    def is_parameter(self, tensor: int) -> bool:
        origin = self.rec.origins.get(tensor)
        return origin is not None and origin.kind in ("parameter", "buffer")

    def is_data(self, tensor: int) -> bool:
        """Whether a tensor began as data: from outside, or made by a factory."""
        origin = self.rec.origins.get(tensor)
        if origin is not None:
            return origin.kind == "outside"
        call = self.producer(tensor)
        return call is not None and not call.inputs

    def from_model(self, tensor: int) -> bool:
        """Whether a tensor descends from a parameter: whether a layer touched it."""
        if tensor not in self._from_model:
            self._from_model[tensor] = any(
                self.is_parameter(other) for other in self.ancestors(tensor)
            )
        return self._from_model[tensor]

    # -- walks --------------------------------------------------------------------

    def trail(self, tensor: int, dim: int) -> Trail:
        """Follow one dimension back to where it begins or is made of several."""
        hops: list[Hop] = []
        for _ in range(_LONGEST):
            made = self.dim_origin(tensor, dim)
            if made is None:
                kind: Literal["parameter", "data", "unknown"] = "unknown"
                if self.is_parameter(tensor):
                    kind = "parameter"
                elif self.is_data(tensor):
                    kind = "data"
                return Trail(tuple(hops), End(kind, tensor, dim))
            call, origin = made
            end = self._end(tensor, dim, call, origin)
            hops.append(Hop(tensor, dim, call, origin))
            if end is not None:
                return Trail(tuple(hops), end)
            tensor, dim = self._next(call, origin)
        return Trail(tuple(hops), End("unknown", tensor, dim))

    def _end(
        self, tensor: int, dim: int, call: Call, origin: DimOrigin
    ) -> End | None:
        how = origin.how
        sources = self.source_ids(call, origin)
        if how == "parameter":
            at = sources[0] if sources else (tensor, dim)
            return End("parameter", *at, call=call, origin=origin)
        if how == "argument":
            kind: Literal["data", "argument"] = "argument"
            if not call.inputs and isinstance(call, FunctionCall):
                kind = "data"
            return End(kind, tensor, dim, call, origin)
        if how in ("new", "values"):
            return End("new" if how == "new" else "values", tensor, dim, call, origin)
        if not sources:
            return End("unknown", tensor, dim, call, origin)
        if how in ("product", "sum") and len(self._parts(call, origin)) > 1:
            return End("branch", tensor, dim, call, origin, self._parts(call, origin))
        return None

    def _parts(self, call: Call, origin: DimOrigin) -> tuple[tuple[int, int], ...]:
        """The sources of a product or sum that count: those of size 1 do not."""
        sources = self.source_ids(call, origin)
        if origin.how == "product":
            real = tuple(s for s in sources if self.size(*s) != 1)
            return real or sources[:1]
        return sources

    def _next(self, call: Call, origin: DimOrigin) -> tuple[int, int]:
        """Of sources that agree, follow data before parameters, and the first."""
        sources = self._parts(call, origin) or self.source_ids(call, origin)
        for source in sources:
            if not self.is_parameter(source[0]):
                return source
        return sources[0]

    def size(self, tensor: int, dim: int) -> int:
        shape = self.tensors[tensor].shape
        return shape[dim] if dim < len(shape) else 0

    def ends(self, tensor: int, dim: int) -> tuple[End, ...]:
        """Every beginning of a size, branches resolved to their parts."""
        found: list[End] = []
        seen: set[tuple[int, int]] = set()
        todo = [(tensor, dim)]
        while todo:
            at = todo.pop()
            if at in seen:
                continue
            seen.add(at)
            end = self.trail(*at).end
            if end.kind == "branch":
                todo.extend(reversed(end.sources))
            else:
                found.append(end)
        return tuple(found)

    def chain(self, tensor: int) -> Iterator[tuple[int, Call]]:
        """The calls behind a tensor, newest first, along its main operand."""
        for _ in range(_LONGEST):
            call = self.producer(tensor)
            if call is None:
                return
            yield tensor, call
            following = [ref.id for ref in call.inputs if not self.is_parameter(ref.id)]
            if not following:
                return
            tensor = following[0]

    def ancestors(self, tensor: int) -> set[int]:
        """The ids of all tensors that a tensor descends from, itself included."""
        seen: set[int] = set()
        todo = [tensor]
        while todo:
            at = todo.pop()
            if at in seen:
                continue
            seen.add(at)
            call = self.producer(at)
            if call is not None:
                todo.extend(ref.id for ref in call.inputs)
        return seen


_HOW = {
    "same": "passes it on",
    "broadcast": "broadcasts it",
    "window": "computes it",
    "product": "joins several dimensions",
    "split": "splits a dimension",
    "sum": "adds sizes up",
    "slice": "takes a part",
    "repeat": "repeats it",
    "parameter": "sets it",
    "argument": "sets it by an argument",
    "new": "adds this dimension",
    "values": "depends on values",
    "guess": "unknown; equal sizes only",
}


def describe(graph: Graph, call: Call) -> tuple[str, str]:
    """Name and type of a call as a reader knows it: the layer where torch's own layer
    made the call, else the function."""
    layer = graph.layer_of(call)
    if layer is not None:
        return layer.name or layer.type, layer.type
    assert isinstance(call, FunctionCall)
    return call.name, "function"


def make_step(graph: Graph, hop: Hop | tuple[int, Call]) -> Step:
    """One hop as a reader's line."""
    if isinstance(hop, Hop):
        tensor, call, dim, origin = hop.tensor, hop.call, hop.dim, hop.origin
        how = origin.note or _HOW[origin.how]
        sure = origin.sure
    else:
        (tensor, call), dim, how, sure = hop, None, "", True
    name, kind = describe(graph, call)
    layer = call if isinstance(call, ModuleCall) else graph.module_of(call)
    return Step(
        name=name,
        type=kind,
        shape=graph.tensors[tensor].shape,
        dim=dim,
        how=how,
        source=call.source,
        module=layer.name if layer is not None else None,
        tensor=tensor,
        function=call.index if isinstance(call, FunctionCall) else None,
        call=layer.index if layer is not None else None,
        sure=sure,
    )


def steps(graph: Graph, tensor: int, dim: int | None = None) -> tuple[Step, ...]:
    """The calls behind a tensor, or behind one of its dimensions, newest first. Where
    a size is made of several, the way goes on with the first and says so."""
    if dim is None:
        return tuple(make_step(graph, hop) for hop in graph.chain(tensor))
    found: list[Step] = []
    at: tuple[int, int] | None = (tensor, dim)
    while at is not None:
        trail = graph.trail(*at)
        found += [make_step(graph, hop) for hop in trail.hops]
        at = trail.end.sources[0] if trail.end.kind == "branch" else None
    return tuple(found)
