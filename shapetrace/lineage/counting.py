"""Along which dimensions the numbers of a tensor count places: rows, columns.

`meshgrid`, `arange` and `linspace` make such numbers; arithmetic with numbers that say
nothing of places leaves them so: scales, offsets that layers make. Asked backwards for
one component of a tensor, as a grid of coordinates holds several.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shapetrace.lineage.graph import Graph
from shapetrace.lineage.hops import Call
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.signatures import kind, takes_no_numbers

#: of each dimension the one index that is asked for, all others being asked for whole
At = Mapping[int, int]
#: the dimensions along which numbers count; None where that cannot be told
Along = frozenset[int] | None

_NOWHERE: frozenset[int] = frozenset()
_SEQUENCES = ("arange", "linspace", "range")
#: what leaves each number where it is, and the larger the larger, or the smaller
_MONOTONE = {"neg", "negative", "clamp", "clip", "clamp_min", "clamp_max"}
_MONOTONE_KINDS = ("cast", "copy", "detach")
_MOVES = ("view", "unit", "transpose", "expand", "repeat")
_PARTS = ("flip", "unbind", "chunk", "split")
#: a chain of more calls than these is not followed
_DEEPEST = 200


class Counting:
    """What one grid of coordinates is made of."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._known: dict[tuple[int, frozenset[tuple[int, int]]], Along] = {}
        self._free: dict[int, bool] = {}
        self._depth = 0
        #: the calls that put components together, in the order in which they are met
        self.joins: list[FunctionCall] = []
        #: what is added place by place, with the dimension along which it counts then
        self.offsets: list[tuple[TensorRef, int]] = []

    def along(self, ref: TensorRef, at: At) -> Along:
        """The dimensions along which the numbers at an index count places; empty where
        they do not, or are whatever a layer or the data makes them."""
        key = ref.id, frozenset(at.items())
        if key not in self._known:
            if self._depth > _DEEPEST:
                return None
            self._depth += 1
            found = self._asked(ref, at)
            self._depth -= 1
            if found is not None:  # of one place nothing can be told
                found = frozenset(dim for dim in found if ref.shape[dim] > 1)
            self._known[key] = found
        return self._known[key]

    def _asked(self, ref: TensorRef, at: At) -> Along:
        call = self._graph.producer(ref.id)
        if not isinstance(call, FunctionCall) or not call.outputs:
            return _NOWHERE
        name, does = call.name.rstrip("_"), kind(call.name)
        number = next(n for n, one in enumerate(call.outputs) if one.id == ref.id)
        if name in _SEQUENCES:
            return _NOWHERE if 0 in at else frozenset((0,))
        if name == "meshgrid":
            return self._meshgrid(call, number, at)
        if not call.inputs or does in ("fill", "random"):
            return _NOWHERE
        if name in ("stack", "cat", "concat"):
            return self._joined(call, ref, at, new=name == "stack")
        if name == "setitem":
            return self._written(call, at)
        if name in ("getitem", "select"):
            return self._picked(call, at)
        if does in _MOVES or name in _PARTS:
            return self._moved(call, number, at)
        if name == "broadcast_tensors":
            return self._stretched(call.inputs[number], ref, at)
        if name in _MONOTONE or does in _MONOTONE_KINDS:
            return self._stretched(call.inputs[0], ref, at)
        if does in ("sum", "scale"):
            return self._reckoned(call, ref, at, adds=does == "sum")
        return _NOWHERE if self._is_free(ref) else None

    def _is_free(self, ref: TensorRef) -> bool:
        """Whether numbers are what a layer makes them, or no places stand behind."""
        graph = self._graph
        if ref.id not in self._free:
            self._free[ref.id] = graph.from_model(ref.id) or not any(
                call is not None and _makes_places(call.name)
                for _, call in graph.behind(ref.id, _numbers_of)
            )
        return self._free[ref.id]

    def is_constant(self, ref: TensorRef) -> bool:
        """Whether numbers are written in the program, and no data stands behind."""
        return all(
            call is not None and (call.inputs or kind(call.name) != "random")
            for _, call in self._graph.behind(ref.id, _numbers_of)
        )

    # -- what makes and joins ---------------------------------------------------------

    def _meshgrid(self, call: FunctionCall, number: int, at: At) -> Along:
        if call.kwargs.get("indexing") == "xy" and number < 2:
            dim = 1 - number
        else:
            dim = number
        if len(call.inputs) < 2 or len(call.inputs) != len(call.outputs or ()):
            return None
        inside = self.along(call.inputs[number], {0: at[dim]} if dim in at else {})
        return inside and frozenset((dim,))

    def _joined(
        self, call: FunctionCall, ref: TensorRef, at: At, *, new: bool
    ) -> Along:
        given = call.kwargs.get("dim", call.args[1] if len(call.args) > 1 else 0)
        if type(given) is not int:
            return None
        dim = given % len(ref.shape)
        rest = {d - (new and d > dim): i for d, i in at.items() if d != dim}
        if dim not in at:
            sides = {self.along(one, rest) for one in call.inputs}
            found = sides.pop()
            if sides or found is None or not new and dim in found:
                return None
        else:
            self.joins.append(call)
            index = at[dim]
            for one in call.inputs:
                size = 1 if new else one.shape[dim]
                if index < size:
                    break
                index -= size
            found = self.along(one, rest if new else {**rest, dim: index})
            if found is None:
                return None
        return frozenset(d + (new and d >= dim) for d in found)

    def _written(self, call: FunctionCall, at: At) -> Along:
        """`grid[..., 0] = columns`: where the index has what is asked for, that is what
        is written, else it is as before."""
        base, where = call.inputs[0], _index(call)
        if where is None:
            return None
        inner, kept = dict[int, int](), list[int]()
        for dim, part in enumerate(where):
            if part is None or isinstance(part, int) and dim not in at:
                return None
            if isinstance(part, int):
                if at[dim] != part:
                    return self.along(base, at)
                continue
            if dim in at:
                if at[dim] not in part:
                    return self.along(base, at)
                inner[len(kept)] = list(part).index(at[dim])
            elif part != range(base.shape[dim]):
                return None
            kept.append(dim)
        value = next((one for one in call.inputs if one.path == "args[2]"), None)
        if value is None:
            return _NOWHERE
        self.joins.append(call)
        found = self._aligned(value, len(kept), inner)
        return found and frozenset(kept[d] for d in found)

    # -- what moves -------------------------------------------------------------------

    def _picked(self, call: FunctionCall, at: At) -> Along:
        where = _index(call)
        if where is None:
            return None
        inner, dims, dim, out = dict[int, int](), dict[int, int](), 0, 0
        for part in where:
            if isinstance(part, int):
                inner[dim] = part
                dim += 1
                continue
            if part is not None:
                if out in at:
                    inner[dim] = part[at[out]]
                dims[dim] = out
                dim += 1
            out += 1
        found = self.along(call.inputs[0], inner)
        return found and frozenset(dims[d] for d in found)

    def _moved(self, call: FunctionCall, number: int, at: At) -> Along:
        """Through what puts each dimension somewhere else, by its signature."""
        relation = self._graph.relation(call)
        if number >= len(relation.outputs):
            return None
        given, inner, dims = call.inputs[0], dict[int, int](), dict[int, int]()
        for out, origin in enumerate(relation.outputs[number]):
            if origin.how in ("new", "argument"):
                continue
            if origin.how not in ("same", "slice", "repeat") or not origin.sure:
                if out in at:
                    return None
                continue
            ((_, dim),) = origin.sources
            if out in at:
                index = self._index_before(call, number, dim, at[out])
                if index is None:
                    return None
                inner[dim] = index
            elif origin.how in ("same", "slice"):
                dims[dim] = out
        if call.name == "unbind":
            inner[_dim(call, 0) % len(given.shape)] = number
        found = self.along(given, inner)
        if found is None or any(dim not in dims for dim in found):
            return None
        return frozenset(dims[dim] for dim in found)

    def _index_before(
        self, call: FunctionCall, number: int, dim: int, index: int
    ) -> int | None:
        """Which index of the input stands at an index of an output."""
        shape = call.inputs[0].shape
        if shape[dim] == 1:
            return 0
        if call.name == "flip":
            turned = call.kwargs.get("dims", call.args[1:])
            if len(turned) == 1 and isinstance(turned[0], tuple | list):
                turned = turned[0]
            if dim in [one % len(shape) for one in turned]:
                return int(shape[dim]) - 1 - index
        elif call.name == "repeat_interleave":
            return None
        elif call.name in ("chunk", "split") and _dim(call, 1) % len(shape) == dim:
            before = (call.outputs or ())[:number]
            return index + sum(one.shape[dim] for one in before)
        return index % shape[dim]

    # -- what reckons -----------------------------------------------------------------

    def _stretched(self, given: TensorRef, ref: TensorRef, at: At) -> Along:
        return self._aligned(given, len(ref.shape), at)

    def _aligned(self, given: TensorRef, rank: int, at: At) -> Along:
        """The same of a tensor that is broadcast to so many dimensions."""
        lead = rank - len(given.shape)
        inner = {
            dim - lead: index if given.shape[dim - lead] > 1 else 0
            for dim, index in at.items()
            if dim >= lead
        }
        found = self.along(given, inner)
        return found and frozenset(dim + lead for dim in found)

    def _reckoned(
        self, call: FunctionCall, ref: TensorRef, at: At, *, adds: bool
    ) -> Along:
        """A sum or a product in which one operand counts. Nothing is told of one that
        is weighed place by place, or moved as a whole to where the data says."""
        sides = [self._stretched(one, ref, at) for one in call.inputs]
        if None in sides:
            return None
        found, *more = [side for side in sides if side] or [_NOWHERE]
        if more or not found:
            return None if more else found
        given = call.inputs[sides.index(found)]
        if "div" in call.name and not given.path.startswith("args[0]"):
            return None
        for other in call.inputs:
            if other is given:
                continue
            lead = len(ref.shape) - len(other.shape)
            varies = all(d >= lead and other.shape[d - lead] > 1 for d in found)
            if adds and varies:
                self.offsets += [(other, dim - lead) for dim in found]
            if adds != varies and not (adds and self.is_constant(other)):
                return None
        return found


def _numbers_of(call: Call) -> tuple[TensorRef, ...]:
    return () if takes_no_numbers(call.name) else call.inputs


def _makes_places(name: str) -> bool:
    return kind(name) in ("count", "running") or name == "affine_grid"


def _dim(call: FunctionCall, place: int) -> int:
    """The dimension that a call is given, by its name or its place."""
    given = call.kwargs.get(
        "dim", call.args[place + 1] if len(call.args) > place + 1 else 0
    )
    return given if type(given) is int else 0


def _index(call: FunctionCall) -> list[int | Sequence[int] | None] | None:
    """What stands in the brackets for each dimension: an index, several of them, None
    for a new dimension; None for an index that cannot be told."""
    shape = call.inputs[0].shape
    if call.name == "select":
        dim, index = _dim(call, 0) % len(shape), call.args[-1]
        given: tuple[object, ...] = (*[slice(None)] * dim, index)
    else:
        index = call.args[1] if len(call.args) > 1 else None
        given = index if isinstance(index, tuple) else (index,)
    taken = sum(part is not None and part is not Ellipsis for part in given)
    rest = [slice(None)] * (len(shape) - taken)
    if Ellipsis not in [part for part in given if part is Ellipsis]:
        given = (*given, *rest)
    else:
        at = [part is Ellipsis for part in given].index(True)
        given = (*given[:at], *rest, *given[at + 1 :])
    found: list[int | Sequence[int] | None] = []
    lists = dim = 0
    for part in given:
        if part is None:
            found.append(None)
            continue
        size = shape[dim]
        dim += 1
        if type(part) is int:
            found.append(part % size)
        elif isinstance(part, slice):
            ends = (part.start, part.stop, part.step)
            if not all(end is None or type(end) is int for end in ends):
                return None
            found.append(range(*part.indices(size)))
        elif isinstance(part, list) and all(type(one) is int for one in part):
            found.append([one % size for one in part])
            lists += 1
        else:
            return None
    mixed = lists and any(type(part) is int for part in found)
    return None if lists > 1 or mixed else found
