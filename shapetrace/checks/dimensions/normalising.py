"""What is normalised over one dimension and compared over another."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.dimensions.norms import of_items, of_the_time
from shapetrace.checks.dimensions.softmax import over_batch
from shapetrace.checks.facts.arguments import argument
from shapetrace.checks.facts.batches import Batches
from shapetrace.checks.facts.by_hand import Normalised, normalised, normalises
from shapetrace.checks.facts.following import Places, Step, steps
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.fixes.lines import along, says
from shapetrace.lineage.dimensions import DATA, PARAMETER
from shapetrace.records import Diagnosis, FunctionCall, TensorRef
from shapetrace.signatures import kind

#: calls between the normalisation and where it is used
_NEAR = 16
_PRODUCTS = ("product", "batch_product")
#: calls behind which what was normalised before is normalised once more
_SHARES = ("softmax", "log_softmax", "unit_length")
#: calls behind which the vectors are others
_LAYERS = ("linear", "convolution", "recurrent", "attention")


@check(
    "normalised-dim",
    "warning",
    "what is normalised over one dimension is compared or summed over another: its "
    "vectors have no length of 1, its shares do not add up to 1",
)
def normalised_dim(context: CheckContext) -> Iterator[Diagnosis]:
    spots = normalised(context, "unit_length", "softmax", "log_softmax")
    if spots:
        known = {one.call.index for one in over_batch(context)}
        spots = [one for one in spots if one.call.index not in known]
    for one in spots:
        given, dim, made = one.given, one.dim, (one.call.outputs or ())[0]
        if made.shape != given.shape or given.shape[dim] < 2:
            continue
        if not _is_of_items(context, given, dim):
            continue
        features = _features(context, given)
        for used in features:
            step = _compared(context, one, used)
            if step is not None:
                yield _wrong(context, one, used, step)
                break
        else:
            if features and _by_default(one) and not _summed(context, made, dim):
                yield _wrong(context, one, features[-1], None)
    yield from _cosines(context)
    yield from of_the_time(context)
    yield from of_items(context)


def _by_default(one: Normalised) -> bool:
    """Whether normalize was left to take dimension 1, of more than two."""
    if one.call.name != "normalize" or len(one.given.shape) != 3:
        return False
    return says(one.call, "dim", 2) is False


def _is_of_items(context: CheckContext, ref: TensorRef, dim: int) -> bool:
    """Whether a dimension counts items: of the data, or such as the code has joined."""
    wholly = context.axes.wholly
    return wholly(ref.id, dim, "data") or wholly(ref.id, dim, "made")


def _features(context: CheckContext, ref: TensorRef) -> list[int]:
    """The dimensions of several of a layer's features."""
    sizes = enumerate(ref.shape)
    wholly = context.axes.wholly
    return [d for d, size in sizes if size > 1 and wholly(ref.id, d, "parameter")]


def _compared(context: CheckContext, start: Normalised, used: int) -> Step | None:
    """The call that sums over `used` what was normalised over another dimension, which
    stays: a product, or a sum of products whose results are averaged over it."""
    call, dim = start.call, start.dim
    unit = start.does == "unit_length"
    joined = not context.axes.wholly(start.given.id, dim, "data")
    made = (call.outputs or ())[0]
    todo: list[tuple[TensorRef, Places | None, Step | None, int]]
    todo = [(made, None, None, 0)]
    seen = {made.id}
    while todo:
        ref, places, summed, count = todo.pop()
        for step in steps(context, ref, places):
            name = kind(step.call.name)
            now = summed
            if used in step.lost and dim not in step.lost and summed is None:
                if joined:
                    if name in _PRODUCTS and unit and _of_itself(context, step, made):
                        return step
                    continue
                if name in _PRODUCTS and unit and _of_activations(context, step.call):
                    return step
                if not _sums(step.call, start.does):
                    continue
                if not _weighted(context, step, call, unit):
                    continue
                if unit:
                    return step
                now = step
            elif dim in step.lost and not (joined and name == "pick"):
                if summed is not None and step.call.name == "mean":
                    return summed
                continue
            elif used in step.lost or name in (*_PRODUCTS, *_LAYERS, *_SHARES):
                continue
            elif not unit and _one_hot(context, step, dim, used):
                return step
            if step.made.id not in seen and count < _NEAR:
                seen.add(step.made.id)
                todo.append((step.made, step.places, now, count + 1))
    return None


def _of_itself(context: CheckContext, step: Step, made: TensorRef) -> bool:
    """Whether a product is of a tensor with itself, or with another part of it: all of
    its vectors are compared, whichever of the joined ones they are."""
    return all(made.id in context.graph.ancestors(ref.id) for ref in step.call.inputs)


def _sums(step: FunctionCall, does: str) -> bool:
    """Whether a call sums up shares, or the logarithms of some."""
    if does == "log_softmax" and step.name == "logsumexp":
        return True
    return kind(step.name) == "total"


def _one_hot(context: CheckContext, step: Step, dim: int, used: int) -> bool:
    """Whether shares are held against one-hot classes along `used`, which differ along
    `dim` as well."""
    if kind(step.call.name) != "scale" or len(step.call.inputs) != 2:
        return False
    other = step.call.inputs[1 - step.position]
    if other.shape != step.made.shape:
        return False
    places = dict(enumerate(step.places))
    at = [d for d, held in places.items() if held == {used}]
    over = [d for d, held in places.items() if held == {dim}]
    if len(at) != 1 or len(over) != 1 or other.shape[over[0]] < 2:
        return False
    makers = (context.made_by(root[1]) for root in context.axes.roots(other.id, at[0]))
    return any(made is not None and made.name == "one_hot" for made in makers)


def _summed(context: CheckContext, made: TensorRef, dim: int) -> bool:
    """Whether a product or a sum later runs over a dimension, as that of channels with
    channels does over the places."""
    todo: list[tuple[TensorRef, Places | None, int]] = [(made, None, 0)]
    seen = {made.id}
    while todo:
        ref, places, count = todo.pop()
        for step in steps(context, ref, places):
            if kind(step.call.name) in _LAYERS:
                continue
            if dim in step.lost:
                if kind(step.call.name) in (*_PRODUCTS, "total"):
                    return True
            elif step.made.id not in seen and count < _NEAR:
                seen.add(step.made.id)
                todo.append((step.made, step.places, count + 1))
    return False


def _of_activations(context: CheckContext, call: FunctionCall) -> bool:
    """Whether a product is one of two tensors with data in them, or of one with vectors
    of length 1 that are learned: no layer."""
    return all(
        context.axes.descends(ref.id, DATA) or _is_unit(context, ref)
        for ref in call.inputs[-2:]
    )


def _is_unit(context: CheckContext, ref: TensorRef) -> bool:
    made = context.made_by(context.undressed(ref.id))
    if made is None or not made.inputs:
        return False
    found = normalises(context, made)
    return found is not None and found.does == "unit_length"


def _weighted(
    context: CheckContext, step: Step, start: FunctionCall, unit: bool
) -> bool:
    """Whether what is summed was multiplied by something before, since `start`: shares
    by a number for each of them, else features are chosen. Logarithms are added."""
    scales = "sum" if step.call.name == "logsumexp" else "scale"
    ref = step.given
    for _ in range(_NEAR):
        made = context.made_by(ref.id)
        if made is None or made.index <= start.index or not made.inputs:
            return False
        if kind(made.name) == scales and len(made.inputs) == 2:
            if unit:
                return all(len(one.shape) == len(ref.shape) for one in made.inputs)
            if all(one.shape == ref.shape for one in made.inputs):
                return True
        ref = max(made.inputs, key=lambda one: len(one.shape))
    return False


def _wrong(
    context: CheckContext, one: Normalised, used: int, step: Step | None
) -> Diagnosis:
    given, dim, by = one.given, one.dim, one.by
    uses = "its vectors are along"
    if step is not None:
        does = "sums over"
        if kind(step.call.name) == "scale":
            does = "holds against one-hot classes along"
        uses = f"{step.call.name} at {step.call.source} {does}"
    joined = not context.axes.wholly(given.id, dim, "data")
    whose = "which the code has joined" if joined else "the data's"
    return finding(
        context,
        one.call,
        f"{by.name} normalises dimension {dim} of {given.shape}, "
        f"{whose}, but "
        f"{uses} dimension {used}, the features.",
        culprits=[
            culprit(context, by, f"normalises dimension {dim}", dim),
            culprit(context, one.call),
        ],
        fixes=[along(context, by, used)],
        shapes=[("input", given, dim)],
        way=(given.id, dim),
    )


def _cosines(context: CheckContext) -> Iterator[Diagnosis]:
    """cosine_similarity of one feature over the samples, or over the places."""
    spots = []
    for call in context.calls("cosine_similarity"):
        one = call.inputs[0]
        dim = argument(call, "dim", 2)
        dim = 1 if dim is None else dim
        if len({ref.shape for ref in call.inputs}) == 1 and isinstance(dim, int):
            at = dim % len(one.shape) if one.shape else 0
            features = _features(context, one)
            if features and at not in features:
                spots.append((call, one, at, features[-1]))
    batches = Batches(context) if spots else None
    for call, one, dim, used in spots:
        root = context.axes.sole(one.id, dim)
        samples = root is not None and root[2] == 0
        images = samples and batches is not None and root in batches.images
        last = used == len(one.shape) - 1  # maps may be compared channel by channel
        places = last and _of_two_models(context, call)
        if one.shape[dim] < 2 or not (samples or places):
            continue
        if images or _all_reduced(context, call):
            what = "samples" if samples else "places"
            yield finding(
                context,
                call,
                f"cosine_similarity compares along dimension {dim} of {one.shape}, "
                f"the {what}; the features are dimension {used}.",
                culprits=[culprit(context, call, f"runs over dimension {dim}", dim)],
                fixes=[along(context, call, used)],
                shapes=[("input", one, dim)],
                way=(one.id, dim),
            )


def _of_two_models(context: CheckContext, call: FunctionCall) -> bool:
    """Whether layers have made both that are compared: of data, a series of each
    channel may be compared along the time."""
    return all(context.axes.descends(ref.id, PARAMETER) for ref in call.inputs[:2])


def _all_reduced(context: CheckContext, call: FunctionCall) -> bool:
    """Whether only the mean of the similarities is used: a loss."""
    made = (call.outputs or ())[0]
    names = [user.name for user, _ in context.follow(made.id)]
    return bool(names) and all(
        name in ("mean", "neg", "rsub", "sub", "add") for name in names
    )
