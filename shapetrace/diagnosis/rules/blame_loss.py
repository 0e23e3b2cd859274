"""A loss whose prediction and target do not fit: which of the two, and who made it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from shapetrace.diagnosis.detect import Mismatch, Spot
from shapetrace.diagnosis.leaves import Leaf, changers, leaves
from shapetrace.diagnosis.rules.blame_leaves import (
    moved_batch,
    odd_window,
    of_leaf,
    stacked,
)
from shapetrace.diagnosis.rules.blame_third import blame_third
from shapetrace.diagnosis.rules.class_dim import class_dim, permuted
from shapetrace.diagnosis.rules.order import blame_order
from shapetrace.diagnosis.rules.reshaped_targets import (
    BY_CLASS,
    took_shape_away,
    wanted_target,
)
from shapetrace.diagnosis.rules.suspects import (
    explained_by_sum,
    is_uneven,
    parted,
    removed,
)
from shapetrace.diagnosis.sites import culprit_of_call, culprit_of_data
from shapetrace.lineage import Graph, Trail
from shapetrace.lineage.loss_calls import sides
from shapetrace.records import Culprit, FunctionCall, TensorRef
from shapetrace.signatures import is_loss
from shapetrace.source.tree import is_own


def blame_loss(graph: Graph, problem: Mismatch) -> Iterable[Culprit]:
    """Culprits of a loss call, most likely first."""
    prediction, target = sides(graph, problem.call)
    if prediction is None or target is None:
        return []
    left, right = problem.left, problem.right
    if left is None or right is None:
        return [_target(graph, target), *_last_layer(graph, prediction)]
    if left.tensor == target.id and right.tensor == prediction.id:
        left, right = right, left
    own = (target.id, prediction.id)
    if right.tensor not in own and (right.tensor or left.tensor not in own):
        return blame_third(graph, left, right)
    by_class = problem.call.name in BY_CLASS
    changed = _reshaped(graph, problem, prediction, target)
    if changed:
        return changed
    other_rank = len(prediction.shape) != len(target.shape) and not by_class
    if problem.kind == "rank" or other_rank:
        ranked = _ranks(graph, problem, prediction, target, left, right)
        if ranked:
            return ranked
    if left.dim is None or right.dim is None:
        return [_target(graph, target), *_last_layer(graph, prediction)]
    if problem.name == "batch" and left.dim and right.size in prediction.shape[:1]:
        moved = _batch_dim(graph, problem, prediction, left, right)
        if moved:
            return moved
    if problem.name == "space" or permuted(prediction, target):
        moved = class_dim(graph, problem, prediction, target)
        if moved:
            return moved
    if not by_class and permuted(prediction, target):
        arranged = blame_order(graph, prediction.id, target.id)
        if arranged:
            return [*arranged, _target(graph, target)]
    return _sizes(graph, problem, prediction, target, left, right)


def _reshaped(
    graph: Graph, problem: Mismatch, prediction: TensorRef, target: TensorRef
) -> list[Culprit]:
    """A target that had the shape which is wanted, before a line of the user's."""
    wanted = wanted_target(prediction, problem.call.name)
    call = took_shape_away(graph, target.id, wanted)
    if call is None or graph.from_model(target.id):
        return []
    reason = f"has shape {target.shape} since `{call.name}` at {call.source}"
    reason += f"; before that it had {wanted}, which fits"
    cause = culprit_of_call(graph, call, reason=f"makes {target.shape} of {wanted}")
    return [_target(graph, target, reason=reason), cause]


def _target(
    graph: Graph,
    target: TensorRef,
    *,
    dim: int | None = None,
    size: int | None = None,
    expected: int | None = None,
    reason: str = "",
) -> Culprit:
    return culprit_of_data(
        graph,
        target.id,
        target=True,
        dim=dim,
        size=size,
        expected=expected,
        reason=reason or f"has shape {target.shape}",
    )


def _last_layer(graph: Graph, prediction: TensorRef) -> list[Culprit]:
    """The newest layer behind a prediction."""
    for _, call in graph.chain(prediction.id):
        if graph.layer_of(call) is not None and len(call.inputs) > 1:
            return [
                culprit_of_call(
                    graph, call, reason=f"makes the prediction {prediction.shape}"
                )
            ]
    return []


def _ranks(
    graph: Graph,
    problem: Mismatch,
    prediction: TensorRef,
    target: TensorRef,
    left: Spot,
    right: Spot,
) -> list[Culprit]:
    """A dimension too many on one side: who added it, or who took it from the other."""
    if problem.kind != "rank":
        left, right = _extra(prediction, target)
    if right.dim is not None and right.dim < len(target.shape):
        size = target.shape[right.dim]
        without = target.shape[: right.dim] + target.shape[right.dim + 1 :]
        note = _target(
            graph,
            target,
            dim=right.dim,
            size=size,
            reason=(
                f"has a dimension of {size} (dim {right.dim}) that the prediction "
                f"{prediction.shape} has not; without it: {without}"
            ),
        )
        if graph.from_model(target.id):
            makers = [
                culprit
                for leaf in leaves(graph, target.id, right.dim)
                for culprit in of_leaf(graph, leaf, size, None, target=True)
            ]
            if makers:
                return [*makers, *_last_layer(graph, prediction)]
        gone = removed(graph, prediction.id, size)
        if gone is not None and (size > 1 or right.dim == 0 and gone[0].direct):
            call, how = gone
            lost = culprit_of_call(
                graph,
                call,
                dim=right.dim,
                expected=size,
                reason=how
                + (": it is the batch, here of one sample" if size == 1 else ""),
            )
            return [lost, note]
        if gone is not None:
            squeezed = culprit_of_call(
                graph, gone[0], reason="squeezes it from the prediction"
            )
            return [note, squeezed]
        return [note, *_last_layer(graph, prediction)]
    if left.dim is None or left.dim >= len(prediction.shape):
        return []
    size = prediction.shape[left.dim]
    makers = []
    found = leaves(graph, prediction.id, left.dim)
    for leaf in found:
        makers += of_leaf(graph, leaf, size, None, target=False)
    missing = _target(
        graph,
        target,
        size=len(target.shape),
        reason=(
            f"has shape {target.shape}, without the prediction's dimension of "
            f"{size}"
        ),
    )
    width = all(leaf.end.kind == "parameter" for leaf in found)
    # a target that the model itself gave is no data to be believed
    alone = left.dim == 0 and all(leaf.end.kind == "data" for leaf in found)
    if size == 1 or (width or alone) and not graph.from_model(target.id):
        return [missing, *makers]
    return [*makers, missing]


def _extra(prediction: TensorRef, target: TensorRef) -> tuple[Spot, Spot]:
    """The dimension that the longer of the two has too much, when aligned in front."""
    a, b = prediction.shape, target.shape
    longer, shorter = (a, b) if len(a) > len(b) else (b, a)
    at = len(longer) - 1
    for dim in range(len(longer)):
        if dim >= len(shorter) or longer[dim] != shorter[dim]:
            at = dim
            break
    none = Spot(None, None, 0)
    if longer is a:
        return Spot(prediction.id, at, a[at]), none
    return none, Spot(target.id, at, b[at])


def _batch_dim(
    graph: Graph, problem: Mismatch, prediction: TensorRef, left: Spot, right: Spot
) -> list[Culprit]:
    """A loss that wants the batch in another dimension than the first, where it is."""
    for _, call in graph.chain(prediction.id):
        return [
            culprit_of_call(
                graph,
                call,
                dim=left.dim,
                size=left.size,
                expected=right.size,
                reason=(
                    f"gives the batch of {right.size} in dim 0; {problem.call.name}"
                    f" takes dim {left.dim} as the batch: a permute is missing"
                ),
            ),
            *_last_layer(graph, prediction),
        ]
    return []


def _sizes(
    graph: Graph,
    problem: Mismatch,
    prediction: TensorRef,
    target: TensorRef,
    left: Spot,
    right: Spot,
) -> list[Culprit]:
    """Two sizes, factor against factor: what both hold cancels out."""
    assert left.dim is not None and right.dim is not None
    own = list(leaves(graph, prediction.id, left.dim))
    others = list(leaves(graph, target.id, right.dim))
    for leaf in list(others):
        twin = next((mine for mine in own if mine.size == leaf.size), None)
        if twin is not None:
            own.remove(twin)
            others.remove(leaf)
    wrong = []
    if not graph.from_model(target.id):
        made_by = _prepared(graph, others, right.size)
        reason = f"has {right.size}{made_by} where the prediction has {left.size}"
        if problem.call.kwargs.get("ignore_index", -100) != -100:
            reason += "; ignore_index leaves positions out, it does not align lengths"
        wrong.append(
            _target(
                graph,
                target,
                dim=right.dim,
                size=right.size,
                expected=left.size,
                reason=reason,
            )
        )
    if not own:
        made = [
            c
            for leaf in others
            for c in of_leaf(graph, leaf, right.size, None, target=True)
        ]
        return [*wrong, *made]
    if len(own) == len(others):
        # where several differ (height and width), the first stands for all
        return _pair(graph, own[0], others[0], left, right, wrong)
    merged = _merger(graph, own, left, right)
    made = [
        c for leaf in own for c in of_leaf(graph, leaf, left.size, None, target=False)
    ]
    return [*merged, *made, *wrong]


def _prepared(graph: Graph, found: list[Leaf], size: int) -> str:
    """The user's function that made a size of the target out of another."""
    for leaf in found:
        for hop in changers(leaf.hops):
            call = hop.call
            made = graph.size(hop.tensor, hop.dim)
            if isinstance(call, FunctionCall) and call.inputs and is_own(call.source):
                if made == size and hop.origin.how == "window":
                    return f" (made by `{call.name}` at {call.source})"
    return ""


def _merger(graph: Graph, own: list[Leaf], left: Spot, right: Spot) -> list[Culprit]:
    """The function that joined what is left over into the prediction's dimension."""
    for leaf in own:
        for hop in changers(leaf.hops):
            direct = isinstance(hop.call, FunctionCall) and hop.call.direct
            if hop.origin.how in ("product", "sum", "split") and direct:
                return [
                    culprit_of_call(
                        graph,
                        hop.call,
                        dim=hop.dim,
                        size=left.size,
                        expected=right.size,
                        reason=(
                            f"joins {hop.origin.note or 'several dimensions'} into "
                            f"{graph.size(hop.tensor, hop.dim)}"
                        ),
                    )
                ]
    return []


def _taken_before(graph: Graph, leaf: Leaf) -> FunctionCall | None:
    """An earlier loss that took the same layer's output with labels."""
    for call in graph.rec.functions:
        prediction, target = sides(graph, call) if is_loss(call.name) else (None, None)
        if call.outputs is None or prediction is None or target is None:
            continue
        for dim in range(len(prediction.shape)):
            end = graph.trail(prediction.id, dim).end
            if end.tensor == leaf.end.tensor and not graph.from_model(target.id):
                return call
    return None


def _pair(
    graph: Graph, mine: Leaf, other: Leaf, left: Spot, right: Spot, wrong: list[Culprit]
) -> list[Culprit]:
    """One factor against one factor."""
    moved = moved_batch(graph, mine, other)
    if moved is None and left.dim == 0 and right.tensor is not None:
        moved = stacked(graph, mine, graph.tensors[right.tensor], other.size)
    if moved is not None:
        return [moved, *wrong]
    makers = of_leaf(graph, mine, mine.size, other.size, target=False)
    theirs = of_leaf(graph, other, other.size, mine.size, target=True)
    if mine.end.kind == "parameter":
        assert right.tensor is not None
        taken = _taken_before(graph, mine)
        if taken is not None and other.end.kind == "parameter" and theirs:
            note = f"; {taken.name} at {taken.source} took the {mine.size}"
            first = replace(theirs[0], reason=theirs[0].reason + note)
            return [first, *makers, *theirs[1:]]
        if wrong and not graph.tensors[right.tensor].dtype.is_floating_point:
            # class numbers where the loss wants one value a prediction
            return [*wrong, *makers, *theirs]
        return [*makers, *wrong, *theirs]
    if not wrong:
        parted_ways = parted(graph, left, right)
        if parted_ways:
            return parted_ways
    joined = explained_by_sum(graph, Trail(mine.hops, mine.end), other.size)
    if joined is not None:
        return [joined, *wrong, *theirs]
    # a product that holds on both sides cancels out: it is no suspect
    steps = [hop for hop in changers(mine.hops) if hop.origin.how != "product"]
    innocent = {
        culprit_of_call(graph, hop.call).name
        for hop in mine.hops
        if hop.origin.how == "product"
    }
    makers = [c for c in makers if c.kind != "function" or c.name not in innocent]
    theirs = [c for c in theirs if c.kind != "function" or c.name not in innocent]
    windows = [hop for hop in steps if hop.origin.how == "window"]
    if windows:
        same = other.end.tensor == mine.end.tensor
        odd = odd_window(graph, windows)
        if odd is not None and (same or is_uneven(graph, odd)):
            first = culprit_of_call(
                graph,
                odd.call,
                dim=odd.dim,
                size=graph.size(odd.tensor, odd.dim),
                reason=f"gives {graph.size(odd.tensor, odd.dim)} ({odd.origin.note})",
            )
            return [first, *[c for c in makers if c.name != first.name], *wrong]
        return [*wrong, *makers]
    made = [c for c in makers if c.kind == "function"]
    regrouped = [hop for hop in steps if hop.origin.how == "split"]
    if regrouped and made:
        # a view that put an explicit number there, or shifted sizes into one another
        return [*made, *wrong, *makers]
    if steps and steps[0].origin.how in ("sum", "argument", "repeat") and made:
        return [*made, *wrong, *theirs]
    if mine.end.kind == "data" and made and mine.end.call is not None:
        if mine.end.call.parent is not None:
            return [*made, *wrong]
    return [*wrong, *theirs, *makers]
