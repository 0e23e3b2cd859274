"""Losses that are one number already where each sample's was wanted."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.batches import batch_of
from shapetrace.checks.lines import instead, unreduced
from shapetrace.checks.registry import Check, check
from shapetrace.checks.report import culprit, finding
from shapetrace.checks.scene import Scene, plain
from shapetrace.lineage.dimensions import TRAINABLE
from shapetrace.records import Diagnosis, FunctionCall, TensorRef
from shapetrace.signatures import kind
from shapetrace.signatures import loss as facts_of

#: calls between a loss and where its number is used
_NEAR = 8
#: what leaves a number the same loss, but for a constant
_SCALES = ("sum", "scale", "pointwise", "cast")


@check(
    "reduced-too-early",
    "warning",
    "the loss is the mean over the batch where the loss of each sample was wanted: "
    "weights of samples, or a power for hard ones, then act on all alike",
)
def reduced_too_early(scene: Scene, rule: Check) -> Iterator[Diagnosis]:
    for call in scene.calls("mul", "div"):
        if len(call.inputs) != 2:
            continue
        one, two = call.inputs
        for number, other in ((one, two), (two, one)):
            if number.shape:
                continue
            loss = _reduced(scene, number)
            if loss is None:
                mean = _mean(scene, number, other)
                if mean is not None and _is_reduced(scene, call):
                    yield _weights(scene, rule, call, mean, other)
                    break
                continue
            at = batch_of(scene, loss)
            samples = (
                () if at is None else scene.sides[loss.index][0].shape[at : at + 1]
            )
            if other.shape and samples not in ((), (1,)):
                if _weighs(scene, other, loss) and _is_reduced(scene, call):
                    yield _weights(scene, rule, call, loss, other)
                    break
            if not other.shape and samples not in ((), (1,)):
                if _grows_with(scene, other, loss):
                    yield _power(scene, rule, call, loss)
                    break


def _reduced(scene: Scene, ref: TensorRef) -> FunctionCall | None:
    """The loss whose one number a tensor is, scaled at most."""
    for _ in range(_NEAR):
        made = scene.made_by(ref.id)
        if made is None:
            return None
        if made.index in scene.sides:
            return made
        parts = [one for one in made.inputs if not one.shape]
        if plain(made.name) not in ("neg", "mul", "div", "mean") or len(parts) != 1:
            return None
        ref = parts[0]
    return None


def _mean(scene: Scene, number: TensorRef, other: TensorRef) -> FunctionCall | None:
    """The call that took the mean of what was made by a model, where data of the same
    shape is to weigh it: of a loss by hand."""
    made = scene.made_by(number.id)
    if made is None or made.name != "mean" or max(other.shape, default=1) < 2:
        return None
    weighs = made.inputs[0].shape == other.shape and scene.is_raw_data(other.id)
    return made if weighs and scene.axes.descends(number.id, TRAINABLE) else None


def _weighs(scene: Scene, ref: TensorRef, loss: FunctionCall) -> bool:
    """Whether a tensor has one value for each sample of the data, or for each place
    that the loss has: a mask of tokens."""
    given, target = scene.sides[loss.index]
    root = scene.axes.sole(ref.id, 0)
    if root is None or root[2] != 0:
        return False
    places = {given.shape[: len(ref.shape)]} | _places(loss, given)
    if target is not None:
        places.add(target.shape)
    at = batch_of(scene, loss)
    return ref.shape in places or ref.shape == (given.shape[at or 0],)


def _places(loss: FunctionCall, given: TensorRef) -> set[tuple[int, ...]]:
    """The shapes of a loss that is not reduced, with a class for each place."""
    known = facts_of(loss.name)
    if known is None or known.class_dim is None or not given.shape:
        return set()
    at = known.class_dim % len(given.shape)
    return {given.shape[:at] + given.shape[at + 1 :]}


def _is_reduced(scene: Scene, call: FunctionCall) -> bool:
    made = (call.outputs or ())[0]
    return any(not ref.shape for _, ref in scene.follow(made.id))


def _grows_with(scene: Scene, ref: TensorRef, loss: FunctionCall) -> bool:
    """Whether a number is a power of `exp(-loss)`, as a focal weight is."""
    powers = 0
    for _ in range(_NEAR):
        made = scene.made_by(ref.id)
        if made is None:
            return False
        if made.index == loss.index:
            return powers == 2
        name = plain(made.name)
        powers += name in ("exp", "pow")
        parts = [one for one in made.inputs if not one.shape]
        if len(parts) != 1 or not (name == "pow" or kind(name) in _SCALES):
            return False
        ref = parts[0]
    return False


def _weights(
    scene: Scene, rule: Check, call: FunctionCall, loss: FunctionCall, other: TensorRef
) -> Diagnosis:
    return finding(
        scene,
        rule,
        call,
        f"{loss.name} at {loss.source} is one number for the whole batch, and the "
        f"weights of {other.shape} are one for each sample or place of it: every one "
        "gets the mean of them.",
        culprits=[
            culprit(scene, loss, "is reduced to one number"),
            culprit(scene, call, "weighs what is reduced already"),
        ],
        fixes=[instead(loss, "{}") if loss.name == "mean" else unreduced(scene, loss)],
        shapes=[("loss", (loss.outputs or ())[0], None), ("weights", other, 0)],
        way=(other.id, 0),
    )


def _power(
    scene: Scene, rule: Check, call: FunctionCall, loss: FunctionCall
) -> Diagnosis:
    given = scene.sides[loss.index][0]
    return finding(
        scene,
        rule,
        call,
        f"the weight is a power of {loss.name}'s mean over the batch, at "
        f"{loss.source}: it tells no hard sample from an easy one.",
        culprits=[
            culprit(scene, loss, "is reduced to one number"),
            culprit(scene, call, "weighs what is reduced already"),
        ],
        fixes=[unreduced(scene, loss)],
        shapes=[("input", given, 0), ("loss", (loss.outputs or ())[0], None)],
        way=(given.id, 0),
    )
