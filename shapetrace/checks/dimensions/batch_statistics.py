"""Statistics of a whole batch that come back into what is made of each sample."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from shapetrace.checks.dimensions.softmax import picked_by_row
from shapetrace.checks.facts.arguments import argument
from shapetrace.checks.facts.batches import SEQUENCES, Batches, sequence_roles
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.finding.trying import Change
from shapetrace.checks.fixes.lines import instead
from shapetrace.lineage.dimensions import DATA, PARAMETER
from shapetrace.lineage.factors import Root
from shapetrace.records import Diagnosis, Fix, FunctionCall, TensorRef
from shapetrace.signatures import is_loss, kind, loss

#: calls between a statistic and where it comes back, and behind that in the forward
_NEAR = 8
_STATISTICS = ("mean", "sum", "max", "min", "amax", "amin", "norm")
#: what a statistic goes through on its way, one number or one for each feature
_BETWEEN = (
    "pointwise power view unit expand cast copy sum scale sigmoid activation".split()
)
#: what sends messages from one node of a graph to another
_GATHERS = ("index_add", "scatter_add", "scatter_reduce", "index_reduce")
#: calls of one forward that are looked at behind it
_FAR = 64
#: what the same number added to all does not change, and what only moves it
_SHIFTED = ("softmax", "log_softmax", "softmin")
_ANY = ("argmax", "mean", "sum")
_MOVES = ("view", "unit", "transpose", "copy", "cast", "detach")
_ROUNDS = ("round", "floor", "ceil", "trunc", "fake_quantize_per_tensor_affine")
#: what the same method takes over one dimension and gives no pair
_NAMES = {"max": "amax", "min": "amin"}


class Back(NamedTuple):
    """Where a statistic comes back, and what is made of both."""

    call: FunctionCall
    made: TensorRef
    adds: bool


@check(
    "batch-statistic",
    "warning",
    "a number taken over all samples of the batch goes into what is made of each: a "
    "prediction depends on which other samples are in the batch",
)
def batch_statistic(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    told: set[int | None] = set()
    spots = [call for call in context.calls(*_STATISTICS) if _is_of_all(context, call)]
    batches = Batches(context) if spots else None
    for call in spots:
        given = call.inputs[0]
        at = None if batches is None else _samples(context, batches, given)
        if (
            batches is None
            or at is None
            or call.parent in told
            or not _is_own(context, call)
        ):
            continue
        dim, root = at
        if _are_mixed(context, root):
            continue
        for back in _comes_back(context, call, given):
            if not root & _roots(context, back.made):
                continue
            if _is_normalised(context, call, back, root):
                break
            if _comes_to_nothing(context, back):
                continue
            if given.shape and _told(call) is not None:
                if not picked_by_row(context, back.call):
                    continue  # features that are centred
            losses = [loss for one in root for loss in batches.losses_of(one)]
            if any(batches.kept(one, {back.made.id}, losses) for one in root):
                told.add(call.parent)
                yield _wrong(context, rule, call, back, dim)
                break


def _is_of_all(context: CheckContext, call: FunctionCall) -> bool:
    """Whether a call in a forward takes a statistic of all that a layer has made."""
    if call.parent is None or len(call.inputs) != 1 or not call.direct:
        return False
    given, made = call.inputs[0], (call.outputs or call.inputs)[0]
    if _told(call) is None:
        if max(made.shape, default=1) > 1:
            return False
    elif _told(call) not in (0, (0,), [0]) or len(given.shape) != 2:
        return False
    if len([size for size in given.shape if size > 1]) < 2:
        return False  # of samples alone: they were meant
    descends = context.axes.descends
    return descends(given.id, PARAMETER) and descends(given.id, DATA)


def _told(call: FunctionCall) -> object:
    """The dimensions that a statistic is told."""
    return argument(call, "dim", 2 if "norm" in call.name else 1)


def _samples(
    context: CheckContext, batches: Batches, ref: TensorRef
) -> tuple[int, frozenset[Root]] | None:
    """The dimension of a tensor that is the batch beyond doubt, and its root."""
    for dim, size in enumerate(ref.shape):
        root = context.axes.sole(ref.id, dim)
        if root is not None and size > 1 and root in batches.sure:
            return dim, frozenset((root,))
    return None


def _are_mixed(context: CheckContext, root: frozenset[Root]) -> bool:
    """Whether what looks like samples is put together elsewhere as well: the nodes of a
    graph, the items of a set."""
    axes = context.axes
    for call in context.of_kind("product", "batch_product"):
        right = call.inputs[-1]
        if len(right.shape) > 1 and root & axes.roots(right.id, len(right.shape) - 2):
            return True
    for call in context.of_kind(*SEQUENCES):
        roles = sequence_roles(context, call)
        if roles is not None and root & axes.roots(call.inputs[0].id, roles[0]):
            return True
    return any(
        axes.descends(ref.id, PARAMETER)
        for call in context.calls(*_GATHERS)
        for ref in call.inputs
    )


def _is_own(context: CheckContext, call: FunctionCall) -> bool:
    """Whether the forward around a call is that of a layer, no loss: it has parameters
    of its own, or takes what layers have made alone."""
    rec = context.graph.rec
    module = context.graph.module_of(call)
    if module is None:
        return False
    inside = module.name + "." if module.name else ""
    for name, info in rec.modules.items():
        if (name == module.name or name.startswith(inside)) and info.parameters:
            return not _loses(context, call)
    return all(context.axes.descends(ref.id, PARAMETER) for ref in module.inputs)


def _loses(context: CheckContext, call: FunctionCall) -> bool:
    """Whether the same forward makes a loss."""
    return any(
        is_loss(one.name) and one.parent == call.parent for one in context.losses
    )


def _comes_back(
    context: CheckContext, call: FunctionCall, given: TensorRef
) -> Iterator[Back]:
    """The sums and products of a statistic with what it was taken of, or what that has
    become, where nothing was detached, kept in a buffer or compared on the way."""
    start, own = (call.outputs or ())[0], context.descendants([given.id])
    todo, seen = [(start, 0)], {start.id}
    found: list[Back] = []
    while todo:
        ref, count = todo.pop()
        for user, made in context.follow(ref.id):
            does, others = kind(user.name), [r for r in user.inputs if r.id != ref.id]
            if not all(context.axes.descends(one.id, DATA) for one in others):
                return  # a running mean
            if does == "detach" or user.grad != call.grad or user.name.endswith("_"):
                return
            if does not in _BETWEEN or len(others) > 1:
                continue
            if any(one.id in own and max(one.shape) > 1 for one in others if one.shape):
                found.append(Back(user, made, does == "sum"))
            elif 0 not in user.args and made.id not in seen and count < _NEAR:
                seen.add(made.id)
                todo.append((made, count + 1))
    yield from found


def _roots(context: CheckContext, ref: TensorRef) -> frozenset[Root]:
    dims = range(len(ref.shape))
    return frozenset[Root]().union(*(context.axes.roots(ref.id, dim) for dim in dims))


def _is_normalised(
    context: CheckContext, call: FunctionCall, back: Back, root: frozenset[Root]
) -> bool:
    """Whether the batch is normalised on purpose: a deviation or a length of it is
    taken as well, what was made is rounded to steps of that size, or reduced over the
    batch once more, as losses and covariances are."""
    first = context.made_by(call.inputs[0].id)
    if first is not None and kind(first.name) == "power":
        return True
    deviations = context.calls("std", "var", "std_mean", "var_mean")
    if any(one.parent == call.parent for one in deviations):
        return True
    todo, seen = [back.made.id], {back.made.id}
    while todo and len(seen) < _FAR:
        for user, made in context.follow(todo.pop()):
            if user.parent != call.parent or made.id in seen:
                continue
            if user.name in _ROUNDS or user.name == "exp" and back.adds:
                return True
            if not root & _roots(context, made):
                return True
            seen.add(made.id)
            todo.append(made.id)
    return False


def _comes_to_nothing(context: CheckContext, back: Back) -> bool:
    """Whether a number is added to all scores of a sample, of which the differences
    alone count, by a softmax or by who picks the best; or to all terms of a sum."""
    todo, found = [back.made.id] if back.adds else [], False
    while todo:
        for user, made in context.follow(todo.pop()):
            if kind(user.name) in (*_MOVES, "sum"):
                todo.append(made.id)
                continue
            facts = loss(user.name)
            logits = facts is not None and facts.activation in _SHIFTED
            if kind(user.name) not in _SHIFTED and user.name not in _ANY and not logits:
                return False
            found = True
    return found


def _wrong(
    context: CheckContext, rule: Check, call: FunctionCall, back: Back, dim: int
) -> Diagnosis:
    given = call.inputs[0]
    over = "all of" if _told(call) is None else "dimension 0 of"
    return finding(
        context,
        rule,
        call,
        f"{call.name} runs over {over} {given.shape}, the {given.shape[dim]} samples "
        f"of dimension {dim}, and {back.call.name} at {back.call.source} puts the "
        "result into what is made of each of them.",
        culprits=[
            culprit(context, call, "runs over the whole batch", dim),
            culprit(context, back.call, "gives it to each sample"),
        ],
        fixes=[_per_sample(context, call, dim)],
        shapes=[("input", given, dim)],
        way=(given.id, dim),
    )


def _per_sample(context: CheckContext, call: FunctionCall, dim: int) -> Fix | None:
    """The line with a number for each sample."""
    others = [d for d in range(len(call.inputs[0].shape)) if d != dim]
    over = others[0] if len(others) == 1 else tuple(others)
    name = _NAMES.get(call.name, call.name)
    fix = instead(call, f"{{}}.{name}(dim={over}, keepdim=True)")
    if name != call.name or name == "norm":
        return fix
    settings = {"dim": over, "keepdim": True}
    return context.trial(fix, Change(call, settings=settings))
