"""Which dimension of the data is the batch, and which is the time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.lineage.dimensions import TRAINABLE
from shapetrace.lineage.factors import Root
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.signatures import loss as facts_of
from shapetrace.signatures import named

SEQUENCES = ("recurrent", "attention")
_IMAGES = (*named("convolution"), "batch_norm")


def batch_of(context: CheckContext, loss: FunctionCall) -> int | None:
    """The dimension of a loss's prediction that holds the samples: what the loss's
    signature calls the batch, else the first one; None where there is none."""
    given, _ = context.sides.get(loss.index, (None, None))
    if given is None or not given.shape:
        return None
    for dim in range(len(given.shape)):
        if _role(context, loss, given, dim) == "batch":
            return dim
    known = facts_of(loss.name)
    return None if known is not None and known.names_batch else 0


def _role(
    context: CheckContext, loss: FunctionCall, given: TensorRef, dim: int
) -> str | None:
    """What a loss's signature calls a dimension of its prediction."""
    return context.graph.relation(loss).roles.get((loss.inputs.index(given), dim))


class Batches:
    """What the losses and the layers of one trace take as the batch."""

    def __init__(self, context: CheckContext) -> None:
        axes = context.axes
        self._context = context
        #: the batch dimensions of predictions, with the losses that take them
        self.first: dict[Root, list[FunctionCall]] = {}
        #: data dimensions that a convolution or a normalisation takes as the batch
        self.images: set[Root] = set()
        #: what is merged in the batch dimensions of others, with the losses
        self.rows: dict[frozenset[Root], list[FunctionCall]] = {}
        self._takes: dict[int, TensorRef] = {}
        strong: set[Root] = set()
        for call in context.calls("mean"):
            ref = call.inputs[0]
            root = axes.sole(ref.id, 0) if len(ref.shape) == 1 else None
            if root is None or ref.shape[0] < 2 or call.parent is not None:
                continue
            if axes.descends(ref.id, TRAINABLE):  # a loss by hand: one for each sample
                self._takes[call.index] = ref
                self.first.setdefault(root, []).append(call)
                strong.add(root)
        for loss in context.losses:
            at = batch_of(context, loss)
            if at is None:
                continue
            given = context.sides[loss.index][0]
            self._takes[loss.index] = given
            root = axes.sole(given.id, at)
            if root is None and (merged := self.merged(given, at)):
                self.rows.setdefault(merged, []).append(loss)
            if root is None or given.shape[at] < 2:
                continue
            self.first.setdefault(root, []).append(loss)
            others = [dim for dim in range(len(given.shape)) if dim != at]
            if not any(self._may_be_batch(loss, given, dim) for dim in others):
                strong.add(root)
        for call in context.calls(*_IMAGES):
            ref = call.inputs[0]
            rank = 3 if plain(call.name) == "batch_norm" else int(call.name[-2]) + 2
            if len(ref.shape) >= rank and ref.shape[0] > 1:
                root = axes.sole(ref.id, 0)
                if root is not None:
                    self.images.add(root)
        taken = {
            root
            for call in context.of_kind(*SEQUENCES)
            if (place := sequence_roles(context, call)) is not None
            and (root := axes.sole(call.inputs[0].id, place[1])) is not None
        }
        #: what a layer takes as the batch: images, or sequences
        self.layers = self.images | taken
        products = [*context.of_kind("batch_product"), *context.calls("matmul")]
        pairs = [call.inputs[-2:] for call in products]
        pairs += [c.inputs[:2] for c in context.calls("scaled_dot_product_attention")]
        for both in pairs:
            pair = [ref for ref in both if len(ref.shape) > 2]
            roots = [axes.sole(ref.id, 0) for ref in pair]
            if len(pair) == 2 and all(r is not None and r[2] == 0 for r in roots):
                taken |= {root for root in roots if root is not None}
        among = {root for merged in self.rows for root in merged}
        #: the batch beyond doubt: a prediction's batch dimension whose others are no
        #: data's, or that a layer, or a product of batches, takes as the batch as well
        self.sure = strong | ((set(self.first) | among) & (self.images | taken))

    def losses_of(self, root: Root) -> list[FunctionCall]:
        """The losses that take a dimension as the batch, or as a part of it."""
        merged = [losses for roots, losses in self.rows.items() if root in roots]
        return [*self.first.get(root, ()), *(one for each in merged for one in each)]

    def _may_be_batch(self, loss: FunctionCall, given: TensorRef, dim: int) -> bool:
        """Whether a dimension of a prediction could be samples as well, for all that
        its loss says: one of the data's, and not called the time."""
        if given.shape[dim] == 1 or _role(self._context, loss, given, dim) == "time":
            return False
        roots = self._context.axes.roots(given.id, dim)
        return any(kind in ("data", "unknown") for kind, _, _ in roots)

    def reached(self, root: Root, tensors: set[int]) -> list[FunctionCall]:
        """The losses that take `root` as the batch and descend from one of them."""
        losses = self.first.get(root, ())
        if not losses:
            return []
        made = self._context.descendants(tensors)
        return [loss for loss in losses if self._takes[loss.index].id in made]

    def merged(self, ref: TensorRef, dim: int) -> frozenset[Root]:
        """The dimensions of the data that are merged in a dimension; none where it is
        one, or made of others as well."""
        axes, roots = self._context.axes, self._context.axes.roots(ref.id, dim)
        alone = len(axes.of(ref.id, dim)) < 2 or not axes.sure(ref.id, dim)
        if alone or any(kind != "data" for kind, _, _ in roots):
            return frozenset()
        return roots

    def kept(
        self, root: Root, tensors: set[int], losses: Sequence[FunctionCall]
    ) -> bool:
        """Whether `root` stays a dimension all the way from one of the tensors to one
        of the losses: a sum over it, or a product, ends the way."""
        given = {self._takes[loss.index].id for loss in losses}
        seen, todo = set(tensors), list(tensors)
        while todo:
            tensor = todo.pop()
            if tensor in given:
                return True
            for _, made in self._context.follow(tensor):
                dims = range(len(made.shape))
                if made.id not in seen and any(
                    root in self._context.axes.roots(made.id, dim) for dim in dims
                ):
                    seen.add(made.id)
                    todo.append(made.id)
        return False

    def no_batch(self, loss: FunctionCall, roots: frozenset[Root]) -> str:
        """What tells that none of these is the batch of a loss, which has another: in
        words; "" where they may be."""
        given, axes = self._takes[loss.index], self._context.axes
        left = [d for d in range(len(given.shape)) if roots & axes.roots(given.id, d)]
        where = f"{loss.name} at {loss.source} takes it as the batch"
        if all(_role(self._context, loss, given, dim) == "time" for dim in left):
            sure = all(axes.sure(given.id, dim) for dim in range(len(given.shape)))
            return where if sure else ""
        if roots <= self.times.keys():
            cut = self.times[next(iter(roots))]
            return f"{where}, and {cut.source} shifts the other one by a step"
        return ""

    @cached_property
    def times(self) -> dict[Root, FunctionCall]:
        """The data dimensions that are cut by one step at either end, `[:-1]` here and
        `[1:]` there: what comes next is predicted along them."""
        ends: dict[Root, dict[int, FunctionCall]] = {}
        for call in self._context.calls("getitem"):
            for dim, end in _steps_off(call):
                root = self._context.axes.sole(call.inputs[0].id, dim)
                if root is not None:
                    ends.setdefault(root, {}).setdefault(end, call)
        return {root: found[1] for root, found in ends.items() if len(found) == 2}


def _steps_off(call: FunctionCall) -> Iterator[tuple[int, int]]:
    """The dimensions that an index cuts by one: (dimension, 1) of the first step and
    (dimension, -1) of the last one."""
    index = call.args[1] if len(call.args) > 1 else None
    parts = list(index) if isinstance(index, (tuple, list)) else [index]
    parts = [part for part in parts if part is not None]
    dim = 0
    for place, part in enumerate(parts):
        if part is Ellipsis:
            dim = len(call.inputs[0].shape) - (len(parts) - place - 1)
            continue
        if isinstance(part, slice) and part.step in (None, 1):
            if (part.start, part.stop) == (1, None):
                yield dim, 1
            elif part.start in (None, 0) and part.stop == -1:
                yield dim, -1
        elif not isinstance(part, (slice, int)):
            return  # a mask or a list of indices may take more than one dimension
        dim += 1


def sequence_roles(context: CheckContext, call: FunctionCall) -> tuple[int, int] | None:
    """What a recurrent layer or attention takes as the sequence, and as the batch."""
    if not call.inputs or len(call.inputs[0].shape) != 3:
        return None
    roles = context.graph.relation(call).roles
    found = [dim for dim in range(3) if roles.get((0, dim)) == "batch"]
    if len(found) != 1 or found[0] == 2:
        return None
    return 1 - found[0], found[0]
