"""Which dimension is the classes, and how many of them there are."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.facts.arguments import softmax_dim
from shapetrace.checks.facts.batches import Batches
from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import (
    culprit,
    data_culprit,
    finding,
    size_culprit,
)
from shapetrace.checks.fixes.lines import along, built, instead, operand
from shapetrace.checks.fixes.loss_lines import another_loss
from shapetrace.records import Culprit, Diagnosis, Fix, FunctionCall, TensorRef
from shapetrace.signatures import index_losses
from shapetrace.signatures import loss as facts_of

#: the loss of one score for a yes or a no
_BINARY = "binary_cross_entropy_with_logits"
#: what is meant where one feature is to say which of two it is
_OF_TWO = "the probability of one of two classes"


def class_dim(loss: FunctionCall, ref: TensorRef) -> int:
    """The dimension of its prediction that a loss takes as the classes."""
    known = facts_of(loss.name)
    at = known.class_dim if known is not None else None
    return (at or 0) % len(ref.shape) if len(ref.shape) > 1 else 0


def last_layer(context: CheckContext, tensor: int, dim: int) -> Culprit | None:
    """The layer whose output the size of a dimension is."""
    return size_culprit(context, tensor, dim, "makes the classes")


@check(
    "class-dim",
    "warning",
    "the loss takes dimension 1 as the classes, and that dimension is time, space or "
    "the batch, not a layer's features",
)
def class_dim_check(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    axes = context.axes
    for loss in context.losses:
        if loss.index not in context.sides:
            continue
        if loss.name not in index_losses():
            features_at = _features(context, loss)
            if features_at is not None:
                yield from _one_hot_elsewhere(context, rule, loss, features_at)
            continue
        given, target = context.sides[loss.index]
        if target is None or not given.shape:
            continue
        at = class_dim(loss, given)
        root = axes.sole(given.id, at)
        rank = len(given.shape)
        if _floating(target) and target.shape == given.shape:
            yield from _one_hot_elsewhere(context, rule, loss, at)
        if root is None:
            yield from _normalised_elsewhere(context, rule, loss, given, at)
            continue
        features = [
            dim
            for dim in range(rank)
            if dim != at
            and axes.from_parameter(given.id, dim)
            and axes.sure(given.id, dim)
            and given.shape[dim] > 1
        ]
        same_shape = target.shape == given.shape
        if rank == 1 and same_shape and given.shape[0] > 1:
            if axes.descends(given.id, 1) and not _distribution(context, target):
                yield _batch_as_classes(context, rule, loss, given, target)
        elif features and (same_shape or given.shape[features[-1]] == given.shape[at]):
            if same_shape and _sums_to_one(context, target, at):
                continue  # a distribution over the places
            dim = features[-1]
            moved = [d for d in range(rank) if d != dim]
            moved.insert(1, dim)
            order = ", ".join(map(str, moved))
            yield finding(
                context,
                rule,
                loss,
                f"{loss.name} takes dimension 1 as the classes, but dimension 1 of "
                f"{given.shape} is the data's; the classes that the last layer makes "
                f"are dimension {dim}.",
                culprits=[
                    last_layer(context, given.id, dim),
                    Culprit(
                        "module",
                        "",
                        source=loss.source,
                        reason="returns the classes in another dimension",
                    ),
                ],
                fixes=[operand(loss, given, f"{{}}.permute({order})")],
                shapes=[("input", given, at), ("target", target, None)],
                way=(given.id, at),
            )


def _features(context: CheckContext, loss: FunctionCall) -> int | None:
    """The one dimension of a prediction that a layer's features are, where the target
    is compared element by element."""
    given, target = context.sides[loss.index]
    if target is None or target.shape != given.shape or not _floating(target):
        return None
    found = [
        dim
        for dim, size in enumerate(given.shape)
        if size > 1 and context.axes.from_parameter(given.id, dim)
    ]
    if len(found) != 1 or not context.axes.sure(given.id, found[0]):
        return None
    return found[0]


def _distribution(context: CheckContext, target: TensorRef) -> bool:
    """Whether a target was made to sum to 1: a ranking of one list is meant so."""
    return any(
        plain(made.name) == "softmax"
        or (plain(made.name) == "div" and len(made.inputs) == 2)
        for made in context.sources_of_values(target.id)
    )


def _sums_to_one(context: CheckContext, target: TensorRef, at: int) -> bool:
    """Whether a target was made to sum to 1 over a dimension."""
    axes = context.axes
    for made in context.sources_of_values(target.id):
        ref = (made.outputs or ())[0]
        dims: list[int] = []
        if plain(made.name) == "softmax":
            dims = [dim] if (dim := softmax_dim(made)) is not None else []
        elif made.name == "one_hot":
            dims = [len(ref.shape) - 1]
        elif plain(made.name) == "div" and len(made.inputs) == 2:
            given, total = made.inputs
            if len(total.shape) == len(given.shape):
                sizes = zip(given.shape, total.shape, strict=True)
                dims = [dim for dim, (a, b) in enumerate(sizes) if b == 1 < a]
        if any(axes.roots(ref.id, dim) & axes.roots(target.id, at) for dim in dims):
            return True
    return False


def _batch_as_classes(
    context: CheckContext,
    rule: Check,
    loss: FunctionCall,
    given: TensorRef,
    target: TensorRef,
) -> Diagnosis:
    return finding(
        context,
        rule,
        loss,
        f"{loss.name} of two vectors of {given.shape[0]} reads the batch as the "
        "classes of one single sample.",
        culprits=[
            *(culprit(context, c) for c in context.sources_of_values(given.id)[:1]),
            culprit(context, loss, "takes the only dimension as classes"),
        ],
        fixes=[
            another_loss(context, loss, _BINARY)
            or f"take {_BINARY}: each sample is a yes or a no"
        ],
        shapes=[("input", given, 0), ("target", target, 0)],
        way=(given.id, 0),
    )


def _one_hot_elsewhere(
    context: CheckContext, rule: Check, loss: FunctionCall, at: int
) -> Iterator[Diagnosis]:
    """A target that one_hot made, with its classes in another dimension than `at`,
    that of the prediction's classes."""
    given, target = context.sides[loss.index]
    assert target is not None
    for made in context.calls("one_hot"):
        ref = (made.outputs or ())[0]
        classes = context.axes.roots(ref.id, len(ref.shape) - 1)
        where = [
            dim
            for dim in range(len(target.shape))
            if classes & context.axes.roots(target.id, dim)
        ]
        if len(where) != 1 or where[0] == at or not context.axes.sure(target.id, at):
            continue
        if (
            loss.name not in index_losses()
            and target.shape[where[0]] != given.shape[at]
        ):
            continue  # one of the places, for each feature
        moved = [dim for dim in range(len(target.shape)) if dim != where[0]]
        moved.insert(at, where[0])
        order = ", ".join(map(str, moved))
        yield finding(
            context,
            rule,
            loss,
            f"the classes of {loss.name}'s prediction are dimension {at} of "
            f"{given.shape}, but one_hot has put the {target.shape[where[0]]} classes "
            f"of the target in dimension {where[0]} of {target.shape}.",
            culprits=[
                data_culprit(
                    context, target.id, "has its classes in another dimension"
                ),
                culprit(context, made, "puts the classes last"),
            ],
            fixes=[operand(loss, target, f"{{}}.permute({order})")],
            shapes=[("input", given, at), ("target", target, where[0])],
            way=(target.id, where[0]),
        )
        return


def _normalised_elsewhere(
    context: CheckContext, rule: Check, loss: FunctionCall, given: TensorRef, at: int
) -> Iterator[Diagnosis]:
    """nll_loss of a log_softmax over another dimension than the classes."""
    if plain(loss.name) != "nll_loss":
        return
    for made in context.sources_of_values(given.id):
        if plain(made.name) != "log_softmax" or made.outputs is None:
            continue
        dim = softmax_dim(made)
        if dim is None or dim == 0:
            return
        over = context.axes.roots(made.outputs[0].id, dim)
        taken = context.axes.roots(given.id, at)
        certain = context.axes.sure(made.outputs[0].id, dim)
        certain = certain and context.axes.sure(given.id, at)
        # what a mask has picked of classes and places is no more in order
        certain = certain and all(root[0] != "made" for root in taken)
        if certain and not over & taken and made.outputs[0].shape[dim] > 1:
            yield finding(
                context,
                rule,
                loss,
                f"nll_loss takes dimension {at} as the classes, but log_softmax has "
                "made another dimension sum to 1.",
                culprits=[culprit(context, made, f"normalises dimension {dim}")],
                fixes=[along(context, made, at)],
                shapes=[("input", given, at)],
                way=(given.id, None),
            )


def _binary(context: CheckContext, loss: FunctionCall, dim: int) -> Fix | str:
    """The loss of one score for each sample, in the place of that of one class."""
    given, target = context.sides[loss.index]
    changes = {given.path: f"{{}}.squeeze({dim})"}
    if target is not None and not _floating(target):
        changes[target.path] = "{}.float()"
    if target is not None and target.shape == given.shape:
        del changes[given.path]
    found = another_loss(context, loss, _BINARY, changes)
    return found or f"take {_BINARY} of that score"


def _best_alone(context: CheckContext, ref: TensorRef, dim: int) -> bool:
    """Whether a dimension is what a `topk` of one has left of a layer's width: of
    several experts the best, whose softmax is 1 whatever the router says."""
    call = context.graph.trail(ref.id, dim).end.call
    if not isinstance(call, FunctionCall) or call.name != "topk":
        return False
    given = call.inputs[0]
    same = len(given.shape) == len(ref.shape) and given.shape[dim] > 1
    return same and context.axes.from_parameter(given.id, dim)


@check(
    "softmax-over-one",
    "warning",
    "a softmax over a dimension of size 1 that a layer always makes: every result is "
    "1, whatever goes in, and no gradient comes back",
)
def softmax_over_one(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    axes = context.axes
    spots = [
        (call, call.inputs[0], dim)
        for call in context.calls("softmax", "log_softmax")
        if (dim := softmax_dim(call)) is not None
    ]
    for loss in context.calls("cross_entropy"):
        if loss.index in context.sides:
            given, _ = context.sides[loss.index]
            if given.shape:
                spots.append((loss, given, class_dim(loss, given)))
    spots = [
        (call, ref, dim)
        for call, ref, dim in spots
        if ref.shape[dim] == 1 < max(ref.shape)
        and axes.sure(ref.id, dim)
        and (axes.from_parameter(ref.id, dim) or _best_alone(context, ref, dim))
    ]
    if not spots:
        return
    batches = Batches(context)
    for call, ref, dim in spots:
        wide = [
            d
            for d, size in enumerate(ref.shape)
            if size > 1 and not axes.roots(ref.id, d) & batches.sure
        ]
        wide = sorted(wide, key=lambda d: d == 0)[:1]
        fixes: list[Fix | str | None] = [along(context, call, d) for d in wide]
        if call.name == "cross_entropy":
            fixes = [_binary(context, call, dim)]
        elif not wide:
            layer = context.layer(call)
            fixes = [
                (
                    built(context, layer.name, "nn.Sigmoid()", _OF_TWO)
                    if layer is not None
                    else instead(call, "{}.sigmoid()", note=_OF_TWO)
                )
            ]
        message = (
            f"{call.name} over dimension {dim}, which has size 1: every result is "
            "always 1 (its logarithm 0), a constant."
        )
        if call.name == "cross_entropy":
            message = (
                f"cross_entropy is given one class, dimension {dim} of size 1: the "
                "loss is always 0, whatever goes in."
            )
        yield finding(
            context,
            rule,
            call,
            message,
            culprits=[
                (
                    culprit(
                        context, call, f"runs over dimension {dim} of size 1", dim, 1
                    )
                    if call.name != "cross_entropy"
                    else None
                ),
                size_culprit(context, ref.id, dim, "makes one feature"),
            ],
            fixes=fixes,
            shapes=[("input", ref, dim)],
            way=(ref.id, dim),
        )


def _floating(ref: TensorRef) -> bool:
    return ref.dtype.is_floating_point
