"""What is normalised over one dimension and compared over another."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.dimensions.norms import of_items, of_the_time
from shapetrace.checks.dimensions.softmax import over_batch
from shapetrace.checks.facts.arguments import argument, softmax_dim
from shapetrace.checks.facts.batches import Batches
from shapetrace.checks.facts.following import Places, Step, steps
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
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
def normalised_dim(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    spots = context.of_kind("unit_length", "softmax", "log_softmax")
    spots += [
        call for call in context.calls("div") if _length(context, call) is not None
    ]
    if spots:
        known = {call.index for call, _ in over_batch(context)}
        spots = [call for call in spots if call.index not in known]
    for call in spots:
        dim = _over(context, call)
        given, made = call.inputs[0], (call.outputs or ())[0]
        if dim is None or made.shape != given.shape or given.shape[dim] < 2:
            continue
        if not _is_data(context, given, dim):
            continue
        features = [e for e in range(len(made.shape)) if _is_feature(context, given, e)]
        for used in features:
            step = _compared(context, call, dim, used)
            if step is not None:
                yield _wrong(context, rule, call, dim, used, step)
                break
        else:
            if features and _by_default(call) and not _summed(context, made, dim):
                yield _wrong(context, rule, call, dim, features[-1], None)
    yield from _cosines(context, rule)
    yield from of_the_time(context, rule)
    yield from of_items(context, rule)


def _by_default(call: FunctionCall) -> bool:
    """Whether normalize was left to take dimension 1, of more than two."""
    if call.name != "normalize" or len(call.inputs[0].shape) != 3:
        return False
    return says(call, "dim", 2) is False


def _length(context: CheckContext, call: FunctionCall) -> FunctionCall | None:
    """The norm that a tensor is divided by, of its own vectors."""
    if len(call.inputs) != 2:
        return None
    given, other = call.inputs
    for _ in range(3):  # a clamp or a small number before the division
        made = context.made_by(other.id)
        if made is None or not made.inputs or len(other.shape) != len(given.shape):
            return None
        if "norm" in made.name and kind(made.name) == "reduce":
            return made if made.inputs[0].id == given.id else None
        other = made.inputs[0]
    return None


def _over(context: CheckContext, call: FunctionCall) -> int | None:
    """The one dimension that a call normalises."""
    length = _length(context, call) if call.name == "div" else None
    if length is not None:
        sizes = zip(call.inputs[0].shape, (length.outputs or ())[0].shape)
        dims = [d for d, (size, one) in enumerate(sizes) if one == 1 < size]
        return dims[0] if len(dims) == 1 else None
    if kind(call.name) != "unit_length":
        return softmax_dim(call)
    rank = len(call.inputs[0].shape)
    dim = argument(call, "dim", 2)
    if call.name != "normalize" or not rank:
        return None
    dim = 1 if dim is None else dim
    return dim if isinstance(dim, int) and 0 <= (dim := dim % rank) < rank else None


def _is_data(context: CheckContext, ref: TensorRef, dim: int) -> bool:
    """Whether a dimension is for certain one of the data's: samples, time, space."""
    roots = context.axes.roots(ref.id, dim)
    return context.axes.sure(ref.id, dim) and all(one[0] == "data" for one in roots)


def _is_feature(context: CheckContext, ref: TensorRef, dim: int) -> bool:
    sure = context.axes.sure(ref.id, dim) and ref.shape[dim] > 1
    roots = context.axes.roots(ref.id, dim)
    return sure and all(one[0] == "parameter" for one in roots)


def _compared(
    context: CheckContext, call: FunctionCall, dim: int, used: int
) -> Step | None:
    """The call that sums over `used` what was normalised over `dim`, which stays: a
    product, or a sum of products whose results are averaged over `dim`."""
    unit = kind(call.name) in ("unit_length", "scale")
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
                if name in _PRODUCTS and unit and _of_activations(context, step.call):
                    return step
                if not _sums(step.call, call):
                    continue
                if not _weighted(context, step, call, unit):
                    continue
                if unit:
                    return step
                now = step
            elif dim in step.lost:
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


def _sums(step: FunctionCall, call: FunctionCall) -> bool:
    """Whether a call sums up shares, or the logarithms of some."""
    if kind(call.name) == "log_softmax" and step.name == "logsumexp":
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
    return made.name == "normalize" or _length(context, made) is not None


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
    context: CheckContext,
    rule: Check,
    call: FunctionCall,
    dim: int,
    used: int,
    step: Step | None,
) -> Diagnosis:
    given = call.inputs[0]
    uses = "its vectors are along"
    if step is not None:
        does = "sums over"
        if kind(step.call.name) == "scale":
            does = "holds against one-hot classes along"
        uses = f"{step.call.name} at {step.call.source} {does}"
    length = _length(context, call) if call.name == "div" else None
    at = length or call
    return finding(
        context,
        rule,
        call,
        f"{at.name} normalises dimension {dim} of {given.shape}, the data's, but "
        f"{uses} dimension {used}, the features.",
        culprits=[
            culprit(context, at, f"normalises dimension {dim}", dim),
            culprit(context, call) if length is not None else None,
        ],
        fixes=[along(context, at, used)],
        shapes=[("input", given, dim)],
        way=(given.id, dim),
    )


def _cosines(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    """cosine_similarity of one feature over the samples, or over the places."""
    spots = []
    for call in context.calls("cosine_similarity"):
        one = call.inputs[0]
        dim = argument(call, "dim", 2)
        dim = 1 if dim is None else dim
        if len({ref.shape for ref in call.inputs}) == 1 and isinstance(dim, int):
            at = dim % len(one.shape) if one.shape else 0
            features = [
                e for e in range(len(one.shape)) if _is_feature(context, one, e)
            ]
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
                rule,
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
