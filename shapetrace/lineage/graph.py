"""An index over a recording: who made a tensor, and where a size comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

from shapetrace.lineage.form import form_of
from shapetrace.lineage.hops import Call, End, Factor, Hop, Trail, parts_of, split_off
from shapetrace.lineage.optimizer_steps import program
from shapetrace.lineage.unseen import UNSEEN, bridge, bridges
from shapetrace.records import (
    FunctionCall,
    ModuleCall,
    Origin,
    Recording,
    TensorRef,
)
from shapetrace.signatures import (
    DimOrigin,
    Relation,
    relate,
    relate_module,
    takes_no_numbers,
)
from shapetrace.source.finder import Constructions
from shapetrace.source.library_calls import called_around
from shapetrace.source.spoken import spoken

#: a walk longer than this is cut: no explanation needs more, and it is linear
_LONGEST = 200_000
#: hops of the trails that are kept
_KEPT, _FEWEST = 10_000, 16
#: where the way simply goes on
_PLAIN = frozenset({"same", "broadcast", "window", "slice", "repeat", "split"})
#: where a factor of a size stays that factor
_WHOLE = frozenset({"same", "broadcast", "product", "split"})


class Graph:
    """An index over a recording: producers, users and relations, found on demand."""

    def __init__(self, rec: Recording) -> None:
        self.rec = rec
        self._relations: dict[tuple[bool, int], Relation] = {}
        self._alike: dict[Any, Relation] = {}
        self._trails: dict[tuple[int, int], Trail] = {}
        self._hops = 0

    @cached_property
    def program(self) -> tuple[FunctionCall, ...]:
        """The function calls, without those of optimizers in their steps."""
        return program(self.rec)

    @cached_property
    def constructions(self) -> Constructions:
        """The lines that built the modules."""
        return Constructions(self.rec)

    @cached_property
    def tensors(self) -> dict[int, TensorRef]:
        """Every tensor of the trace, as it was first seen."""
        found: dict[int, TensorRef] = {}
        calls: tuple[Call, ...] = (*self.rec.functions, *self.rec.calls)
        for call in calls:
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
                if not self.is_parameter(ref.id):  # filled, or stepped: not made anew
                    made.setdefault(ref.id, call)
        # innermost first: a later end is further out
        for module in sorted(self.rec.calls, key=lambda call: call.end_order):
            inputs = {ref.id for ref in module.inputs}
            for ref in module.outputs or ():
                if ref.id not in inputs and ref.id not in self.rec.origins:
                    made.setdefault(ref.id, module)
        if not self.rec.has_functions:
            for tensor, guessed in bridges(self.rec, made).items():
                made.setdefault(tensor, guessed)
        return made

    @cached_property
    def users(self) -> dict[int, list[Call]]:
        """The program's calls that took a tensor, in order; with functions, functions
        only."""
        taken: dict[int, list[Call]] = {}
        calls: tuple[Call, ...] = self.program
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
        """What the call's signature says; calls alike in all that it reads share it."""
        key = (isinstance(call, FunctionCall), call.index)
        found = self._relations.get(key)
        if found is None:
            found = self._relations[key] = self.related(call)
        return found

    def related(self, call: Call) -> Relation:
        """The same of a call that need not have been recorded so."""
        try:
            form = form_of(call)
        except TypeError:  # an argument that cannot be hashed
            return self._relate(call)
        if form not in self._alike:
            self._alike[form] = self._relate(call)
        return self._alike[form]

    def _relate(self, call: Call) -> Relation:
        if isinstance(call, ModuleCall):
            return relate_module(call, self.rec.modules.get(call.name))
        return bridge(call) if call.name == UNSEEN else relate(call)

    def module_of(self, call: Call) -> ModuleCall | None:
        """The module call in whose forward a call was made."""
        return None if call.parent is None else self.rec.calls[call.parent]

    def layer_of(self, call: Call) -> ModuleCall | None:
        """The layer that a call stands for: torch's own layer that made it, or the
        module call itself; None for a function that the user's code called."""
        if isinstance(call, ModuleCall):
            return call
        return None if call.direct else self.module_of(call)

    def said(self, name: str) -> str:
        """What a text calls a module, or a parameter of one, of that name."""
        return spoken(self.rec.called, name)

    def spoken(self, module: ModuleCall) -> str:
        """What a text calls a module: a root as the script does, else its class."""
        return self.said(module.name) or module.type

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
        if call is None:
            return False
        return not call.inputs or self.library_data(tensor) is not None

    def library_data(self, tensor: int) -> str | None:
        """What made data of nothing of the program's, by several calls of its own:
        `sample` of a distribution. None for all else."""
        made = self.producer(tensor)
        if not isinstance(made, FunctionCall) or made.index < 0:
            return None
        name = called_around(made) if made.parent is None else None
        if name is None or self.from_model(tensor):
            return None
        for behind in map(self.producer, self.ancestors(tensor)):
            if isinstance(behind, ModuleCall):
                return None
            if behind is not None and called_around(behind) is None:
                return None
        return name

    def from_model(self, tensor: int) -> bool:
        """Whether a tensor descends from a parameter: whether a layer touched it."""
        return tensor in self._touched or self.is_parameter(tensor)

    @cached_property
    def _touched(self) -> set[int]:
        """What descends from a parameter: one pass, as inputs stand before calls."""
        touched: set[int] = set()
        calls: list[Call] = list(self.rec.functions)
        made = self._producers
        for module in self.rec.calls:
            if any(made.get(ref.id) is module for ref in module.outputs or ()):
                calls.append(module)
        calls.extend(call for call in made.values() if call.index < 0)
        for call in sorted(calls, key=_ended):
            if isinstance(call, FunctionCall) and takes_no_numbers(call.name):
                continue
            layer = isinstance(call, ModuleCall) and self._has_parameters(call)
            if layer or any(
                ref.id in touched or self.is_parameter(ref.id) for ref in call.inputs
            ):
                touched.update(ref.id for ref in call.outputs or ())
        return touched

    def _has_parameters(self, call: ModuleCall) -> bool:
        """Without functions no parameter is seen as an input: the layer's own tell."""
        info = self.rec.modules.get(call.name)
        return info is not None and bool(info.parameters)

    # -- walks --------------------------------------------------------------------

    def trail(self, tensor: int, dim: int) -> Trail:
        """Follow one dimension back to where it begins or is made of several. The last
        ones are kept: whoever asks once asks for the same again."""
        found = self._trails.get((tensor, dim))
        if found is None:
            items = list(self.walk(tensor, dim))
            hops = tuple(item for item in items if isinstance(item, Hop))
            end = next(item for item in items if isinstance(item, End))
            found = self._trails[tensor, dim] = Trail(hops, end)
            self._hops += len(hops)
            while self._hops > _KEPT and len(self._trails) > _FEWEST:
                self._hops -= len(self._trails.pop(next(iter(self._trails))).hops)
        return found

    def walk(self, tensor: int, dim: int) -> Iterator[Hop | End]:
        """The hops of a trail one by one, newest first, and its end.

        What was split off a dimension is followed as that factor: where it comes to
        the product that made the dimension, the way goes on with the parts it is.
        """
        factor: Factor | None = None
        for _ in range(_LONGEST):
            made = self.dim_origin(tensor, dim)
            if made is None:
                kind: Literal["parameter", "data", "unknown"] = "unknown"
                if self.is_parameter(tensor):
                    kind = "parameter"
                elif self.is_data(tensor):
                    kind = "data"
                yield End(kind, tensor, dim)
                return
            call, origin = made
            yield Hop(tensor, dim, call, origin)
            if origin.how not in _WHOLE:
                factor = None
            elif origin.how == "split":
                factor = self._factor(call, tensor, dim, factor)
            elif factor is not None and origin.how == "product":
                origin, factor = self._narrowed(call, origin, factor)
            if origin.how not in _PLAIN or not origin.sources:
                end = self._end(tensor, dim, call, origin)
                if end is not None:
                    yield end
                    return
            tensor, dim = self._next(call, origin)
        yield End("unknown", tensor, dim)

    def _factor(
        self, call: Call, tensor: int, dim: int, inner: Factor | None
    ) -> Factor | None:
        outputs = self.relation(call).outputs
        for ref, origins in zip(call.outputs or (), outputs):
            if ref.id == tensor:
                return split_off(call, tensor, origins, dim, inner)
        return None

    def _narrowed(
        self, call: Call, origin: DimOrigin, factor: Factor
    ) -> tuple[DimOrigin, Factor | None]:
        """A product's origin with those of its sources alone that make up a factor."""
        sizes = [call.inputs[at].shape[dim] for at, dim in origin.sources]
        found = parts_of(factor, sizes)
        if found is None:
            return origin, None
        first, last, rest = found
        return replace(origin, sources=origin.sources[slice(first, last + 1)]), rest

    def _end(self, tensor: int, dim: int, call: Call, origin: DimOrigin) -> End | None:
        how = origin.how
        sources = self.source_ids(call, origin)
        if how == "parameter":
            at = sources[0] if sources else (tensor, dim)
            return End("parameter", *at, call=call, origin=origin)
        if how == "argument":
            kind: Literal["data", "argument"] = "argument"
            if isinstance(call, FunctionCall):
                if not call.inputs or self.library_data(tensor) is not None:
                    kind = "data"
            return End(kind, tensor, dim, call, origin)
        if how == "new":
            # samples that a loader puts together: the batch comes in with the data
            data = call.parent is None and not self.from_model(tensor)
            return End("data" if data else "new", tensor, dim, call, origin)
        if how == "values":
            return End("values", tensor, dim, call, origin)
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
        data = (source for source in sources if not self.is_parameter(source[0]))
        return next(data, sources[0])

    def size(self, tensor: int, dim: int) -> int:
        shape = self.tensors[tensor].shape
        return shape[dim] if dim < len(shape) else 0

    def ends(self, tensor: int, dim: int) -> tuple[End, ...]:
        """Every beginning of a size, branches resolved to their parts."""
        found: list[End] = []
        seen: set[tuple[int, int]] = set()
        todo = [(tensor, dim)]
        while todo:
            for item in self.walk(*todo.pop()):
                at = (item.tensor, item.dim)
                if isinstance(item, End):
                    if item.kind == "branch":
                        todo.extend(reversed(item.sources))
                    elif item.call is not None or at not in seen:
                        found.append(item)
                elif at in seen:
                    break
                seen.add(at)
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
        return {at for at, _ in self.behind(tensor, lambda call: call.inputs)}

    def behind(
        self, tensor: int, taken: Callable[[Call], Iterable[TensorRef]]
    ) -> Iterator[tuple[int, Call | None]]:
        """A tensor and those that it descends from, each once and with the call that
        made it; `taken` says which of a call's inputs are followed."""
        seen: set[int] = set()
        todo = [tensor]
        while todo:
            at = todo.pop()
            if at in seen:
                continue
            seen.add(at)
            call = self.producer(at)
            yield at, call
            if call is not None:
                todo.extend(ref.id for ref in taken(call))


def _ended(call: Call) -> int:
    return call.end_order if isinstance(call, ModuleCall) else call.order
