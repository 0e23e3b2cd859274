"""What each dimension of each tensor is made of: ordered factors with their roots.

One pass over the calls in their order, so that asking is a lookup and a trace of
100,000 calls takes about a second. Where `Graph.trail` answers "where does this size
begin", this answers "which data dimensions and parameters stand in it, in which
order", which a view needs: `(batch·time, 8)` may become `(batch, time, 8)` and not
`(time, batch, 8)`.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from math import prod
from typing import NamedTuple

from shapetrace.lineage.factors import Axis, Order, Root, regroup
from shapetrace.lineage.graph import Graph
from shapetrace.lineage.learned import hands_back, is_to_learn, writes_in_place
from shapetrace.lineage.unrolled import unrolled
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.signatures import DimOrigin, Relation, kind, takes_no_numbers

#: elements picked along one dimension by an index of as many dimensions
_LOOKUPS = frozenset(("gather", "take_along_dim"))
#: more roots than these in one dimension are not told apart: a cat of all steps
_MOST = 64
#: what a tensor descends from; TRAINABLE: from a parameter with no detach between,
#: RECORDED: with autograd on all the way as well
PARAMETER, DATA, TRAINABLE, RECORDED = 1, 2, 4, 8
_LEARNED = TRAINABLE | RECORDED
#: which of several operands a dimension is followed to, by what it descends from
_RANKS = {0: 0, PARAMETER: 0, DATA: 1, DATA | PARAMETER: 2}


Dims = tuple[tuple[Axis, ...], ...]


class Scramble(NamedTuple):
    """A view whose result has its input's sizes in another order.

    `order` gives for each dimension of the group's result the factors it has the size
    of, as positions in `sizes`; `dims` are those dimensions of the result.
    """

    call: FunctionCall
    sizes: tuple[int, ...]
    order: Order
    dims: tuple[int, ...]
    sure: bool


class Axes:
    """The factors of every dimension, what each tensor descends from, the scrambles."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._relation: Callable[[FunctionCall], Relation] = graph.relation
        self._dims: MutableMapping[int, Dims] = {}
        self._descent: MutableMapping[int, int] = {}
        self.scrambles: list[Scramble] = []
        #: views whose cuts fall across places of the data and features of each
        self.tears: list[FunctionCall] = []
        for call in graph.program:
            for ref in call.inputs:
                if ref.id not in self._dims:
                    self._leaf(ref)
            if call.outputs:
                self._made(call)

    def of(self, tensor: int, dim: int) -> tuple[Axis, ...]:
        """The factors of one dimension; () when nothing is known."""
        dims = self._dims.get(tensor, ())
        return dims[dim] if -len(dims) <= dim < len(dims) else ()

    def roots(self, tensor: int, dim: int) -> frozenset[Root]:
        """The roots of all factors of a dimension."""
        return frozenset().union(*(axis.roots for axis in self.of(tensor, dim)))

    def sure(self, tensor: int, dim: int) -> bool:
        axes = self.of(tensor, dim)
        return bool(axes) and all(axis.sure for axis in axes)

    def sole(self, tensor: int, dim: int) -> Root | None:
        """The one data dimension that a dimension is, unmixed and for certain."""
        roots = self.roots(tensor, dim)
        root = next(iter(roots)) if len(roots) == 1 else None
        return root if root and root[0] == "data" and self.sure(tensor, dim) else None

    def from_parameter(self, tensor: int, dim: int) -> bool:
        return any(root == "parameter" for root, _, _ in self.roots(tensor, dim))

    def wholly(self, tensor: int, dim: int, root: str) -> bool:
        """Whether a dimension is for certain of that kind alone: the data's, say."""
        roots = self.roots(tensor, dim)
        return self.sure(tensor, dim) and all(kind == root for kind, _, _ in roots)

    def descends(self, tensor: int, bit: int) -> bool:
        """Whether a tensor descends from a PARAMETER, from DATA, is TRAINABLE …"""
        return bool(self._descent.get(tensor, 0) & bit)

    # -- the pass ---------------------------------------------------------------------

    def _leaf(self, ref: TensorRef) -> None:
        origin = self._graph.rec.origins.get(ref.id)
        root, bits = "unknown", 0
        if origin is not None and origin.kind in ("parameter", "buffer"):
            root = "parameter"
            bits = PARAMETER | _LEARNED if origin.kind == "parameter" else 0
        elif origin is not None and origin.kind == "outside":
            root, bits = "data", DATA
            if origin.requires_grad:  # a weight of a module built in the trace
                bits |= PARAMETER | _LEARNED
        else:
            bits = DATA | PARAMETER | _LEARNED
        self._descent[ref.id] = bits
        self._dims[ref.id] = tuple(
            (Axis(size, frozenset(((root, ref.id, dim),)), root != "unknown"),)
            for dim, size in enumerate(ref.shape)
        )

    def _made(self, call: FunctionCall) -> None:
        bits = 0
        for ref in call.inputs:
            bits |= self._descent[ref.id]
        if takes_no_numbers(call.name):
            bits = DATA
        elif not call.inputs:
            bits = 0 if kind(call.name) == "count" else DATA
        elif writes_in_place(
            call
        ):  # what is written to stays a leaf where autograd is off
            if not call.grad:
                bits = bits & ~_LEARNED | self._descent[call.inputs[0].id] & _LEARNED
        elif kind(call.name) == "detach":
            bits &= ~_LEARNED
        elif not call.grad and not hands_back(call):
            bits &= ~RECORDED
        if is_to_learn(call):
            bits |= _LEARNED
        relation = self._relation(call) if call.inputs else None
        for position, ref in enumerate(call.outputs or ()):
            if self._is_told(ref):
                continue
            numbers = ref.dtype.is_floating_point or ref.dtype.is_complex
            self._descent[ref.id] = bits if numbers else bits & ~_LEARNED
            if relation is None:
                root = "made" if kind(call.name) == "count" else "data"
                self._dims[ref.id] = tuple(
                    (Axis(size, frozenset(((root, ref.id, dim),))),)
                    for dim, size in enumerate(ref.shape)
                )
            elif kind(call.name) == "view" and 0 not in ref.shape:
                self._dims[ref.id] = self._view(call, ref)
            else:
                origins: tuple[DimOrigin, ...] = ()
                if position < len(relation.outputs):
                    origins = relation.outputs[position]
                self._dims[ref.id] = tuple(
                    (
                        self._dim(call, ref, dim, origins[dim])
                        if dim < len(origins)
                        else _unknown(ref, dim)
                    )
                    for dim in range(len(ref.shape))
                )

    def _is_told(self, ref: TensorRef) -> bool:
        return ref.id in self._dims

    def _dim(
        self, call: FunctionCall, ref: TensorRef, dim: int, origin: DimOrigin
    ) -> tuple[Axis, ...]:
        size = ref.shape[dim]
        picked = self._beside_lookup(call, ref, dim)
        if picked is not None:
            return picked
        sources = [
            (call.inputs[position].id, d)
            for position, d in origin.sources
            if position < len(call.inputs)
        ]
        if not sources:
            return self._fresh(call, ref, dim, origin)
        if origin.how in ("same", "broadcast"):
            tensor, d = sources[0] if len(sources) == 1 else self._main(sources)
            found = self._of_source(tensor, d)
            if found and (len(found) > 1 or found[0].size == size):
                return found if origin.sure else _unsure(found)
        if origin.how == "parameter":
            roots = frozenset(("parameter", t, d) for t, d in sources)
            return (Axis(size, roots, origin.sure),)
        parts = [self._of_source(*source) for source in sources]
        return self._joined(call, ref, dim, origin, parts)

    def _beside_lookup(
        self, call: FunctionCall, ref: TensorRef, dim: int
    ) -> tuple[Axis, ...] | None:
        """A dimension beside the one that an index of as many dimensions picks along:
        that of what is picked from. None for any other."""
        if call.name not in _LOOKUPS or dim == _along(call) % len(ref.shape):
            return None
        given, index = call.inputs[0], call.inputs[-1]
        if len(given.shape) != len(ref.shape) or given.shape[dim] != ref.shape[dim]:
            return None
        found = self._of_source(given.id, dim)
        if len(found) > 1 and _disagree(found, self._of_source(index.id, dim)):
            return _unsure(found)
        return found

    def _fresh(
        self, call: FunctionCall, ref: TensorRef, dim: int, origin: DimOrigin
    ) -> tuple[Axis, ...]:
        """A dimension with none of an input behind it."""
        if origin.how not in ("argument", "new", "values"):
            return _unknown(ref, dim)
        size = ref.shape[dim]
        loop = unrolled(self._graph, call) if call.name == "stack" else None
        if loop is not None:
            return self._of_source(loop.tensor, loop.dim)
        root = "states" if kind(call.name) == "recurrent" else "made"
        if self._is_batch(call, ref) and (size > 1 or not _puts_one(call)):
            root = "data"
        return (Axis(size, frozenset(((root, ref.id, dim),)), origin.sure),)

    def _joined(
        self,
        call: FunctionCall,
        ref: TensorRef,
        dim: int,
        origin: DimOrigin,
        parts: list[tuple[Axis, ...]],
    ) -> tuple[Axis, ...]:
        """A dimension that several of the inputs went into, each with its factors."""
        size = ref.shape[dim]
        if origin.how == "product":
            merged = tuple(a for axes in parts for a in axes if a.size != 1)
            if prod(axis.size for axis in merged) == size and merged:
                return merged
        roots = frozenset[Root]().union(*(a.roots for axes in parts for a in axes))
        sure = origin.sure and all(a.sure for axes in parts for a in axes)
        if len(roots) > 1 and origin.how == "sum" and self._is_batch(call, ref):
            roots = frozenset((("data", ref.id, dim),))
        elif len(roots) > _MOST:
            of_kind = {root[0] for root in roots}
            sure &= len(of_kind) == 1
            roots = frozenset(((of_kind.pop() if sure else "unknown", ref.id, dim),))
        whole = Axis(size, roots, sure)
        if origin.how in ("sum", "repeat"):
            return self._times(call, ref, dim, origin, parts[0], whole)
        return (whole,)

    def _is_batch(self, call: FunctionCall, ref: TensorRef) -> bool:
        """Whether a new dimension counts samples: what no parameter has touched is
        data, and who puts pieces of it together, or picks some, makes a batch."""
        raw = self._descent[ref.id] & (DATA | PARAMETER) == DATA
        return raw and kind(call.name) in ("join", "pick")

    def _times(
        self,
        call: FunctionCall,
        ref: TensorRef,
        dim: int,
        origin: DimOrigin,
        first: tuple[Axis, ...],
        whole: Axis,
    ) -> tuple[Axis, ...]:
        """cat of equal parts and repeat: a count outside, repeat_interleave: inside."""
        one = prod(axis.size for axis in first)
        if one <= 1 or whole.size % one or whole.size == one or not whole.sure:
            return (whole,)
        count = whole.size // one
        if origin.how == "sum" and len(origin.sources) != count:
            return (whole,)
        times = Axis(count, frozenset((("made", ref.id, dim),)))
        inner = tuple(Axis(a.size, whole.roots) for a in first if a.size != 1)
        if call.name in ("repeat", "tile") or origin.how == "sum":
            return (times, *inner)
        if call.name == "repeat_interleave":
            return (*inner, times)
        return (whole,)

    def _of_source(self, tensor: int, dim: int) -> tuple[Axis, ...]:
        dims = self._dims.get(tensor, ())
        return dims[dim] if dim < len(dims) else ()

    def _main(self, sources: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """Of operands that agree, an activation before data before parameters."""
        best, found = -1, sources[0]
        for source in sources:
            rank = _RANKS[self._descent[source[0]] & (DATA | PARAMETER)]
            if rank > best:
                best, found = rank, source
        return found

    # -- views ------------------------------------------------------------------------

    def _view(self, call: FunctionCall, ref: TensorRef) -> Dims:
        source = call.inputs[0]
        atoms = [a for axes in self._dims[source.id] for a in axes if a.size != 1]
        if prod(a.size for a in atoms) != prod(ref.shape):  # view(dtype)
            return tuple(_unknown(ref, dim) for dim in range(len(ref.shape)))
        ones = [
            axes
            for dim, axes in enumerate(self._dims[source.id])
            if source.shape[dim] == 1
        ]
        result: list[tuple[Axis, ...]] = []
        outs = [dim for dim, size in enumerate(ref.shape) if size != 1]
        for dim, size in enumerate(ref.shape):
            if size == 1:
                fresh = (Axis(1, frozenset((("made", ref.id, dim),))),)
                result.append(ones.pop(0) if ones else fresh)
            else:
                result.append(())
        at = 0
        while outs:
            group, size, wanted = [atoms[at]], atoms[at].size, [outs.pop(0)]
            at += 1
            asked = ref.shape[wanted[0]]
            while size != asked:
                if size < asked:
                    group.append(atoms[at])
                    size *= atoms[at].size
                    at += 1
                else:
                    wanted.append(outs.pop(0))
                    asked *= ref.shape[wanted[-1]]
            if len(wanted) > 1 and self._is_cut_anew(call, group):
                for dim in wanted:
                    root = "data", ref.id, dim
                    result[dim] = (Axis(ref.shape[dim], frozenset((root,))),)
                continue
            made = regroup(group, [ref.shape[dim] for dim in wanted])
            if made.order is not None:
                self._scrambled(call, made.factors, made.order, wanted)
            if made.torn and _places_and_features(group):
                self.tears.append(call)
            for dim, axes in zip(wanted, made.axes, strict=True):
                result[dim] = axes
        return tuple(result)

    def _is_cut_anew(self, call: FunctionCall, group: list[Axis]) -> bool:
        """Whether one dimension of data is cut in several before a model has it: a
        corpus into columns, of which one is the batch and the other the time."""
        raw = not self.descends(call.inputs[0].id, PARAMETER) and call.parent is None
        return raw and len(group) == 1 and all(r[0] == "data" for r in group[0].roots)

    def _scrambled(
        self, call: FunctionCall, factors: list[Axis], order: Order, dims: list[int]
    ) -> None:
        certain = all(axis.sure for axis in factors)
        sizes = tuple(axis.size for axis in factors)
        self.scrambles.append(Scramble(call, sizes, order, tuple(dims), certain))


def _places_and_features(group: list[Axis]) -> bool:
    """Whether a view takes places of the data and, behind them, a layer's features."""
    *places, last = group
    return all(axis.sure for axis in group) and (
        all(kind == "parameter" for kind, _, _ in last.roots)
        and any(kind == "data" for axis in places for kind, _, _ in axis.roots)
    )


def _unsure(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    return tuple(Axis(axis.size, axis.roots, False) for axis in axes)


def _unknown(ref: TensorRef, dim: int) -> tuple[Axis, ...]:
    return (Axis(ref.shape[dim], frozenset((("unknown", ref.id, dim),)), False),)


def _disagree(one: Sequence[Axis], two: Sequence[Axis]) -> bool:
    """Whether both are products, of factors in another order."""
    return len(two) > 1 and [a.size for a in one] != [b.size for b in two]


def _along(call: FunctionCall) -> int:
    """The `dim` of a gather."""
    place = 1 if call.name == "gather" else 2
    found = call.kwargs.get("dim")
    if found is None and len(call.args) > place:
        found = call.args[place]
    return found if isinstance(found, int) else 0


def _puts_one(call: FunctionCall) -> bool:
    """Whether a dimension of 1 is there because the code says `None`, and not because
    a stack or a list of indices has one entry."""
    return call.name == "getitem" and len(call.args) > 1 and _has_none(call.args[1])


def _has_none(index: object) -> bool:
    return index is None or isinstance(index, tuple) and any(i is None for i in index)
