"""Views where a permute was meant."""

from __future__ import annotations

from collections.abc import Iterator
from os.path import commonprefix

from shapetrace.checks.facts.arguments import argument
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.finding.trying import Change
from shapetrace.checks.fixes.lines import instead, interleaved, operand, sizes_of
from shapetrace.checks.reshaping.channels import places_as_channels
from shapetrace.checks.reshaping.chunks import cut_across
from shapetrace.checks.reshaping.named_views import exchanged, folds, misnamed
from shapetrace.checks.reshaping.patches import torn
from shapetrace.diagnosis.repair.edits import Step
from shapetrace.diagnosis.repair.stepwise import stepwise
from shapetrace.lineage.dimensions import DATA, Scramble
from shapetrace.lineage.factors import Root, nests
from shapetrace.records import Diagnosis, Fix, FunctionCall, TensorRef
from shapetrace.signatures import index_losses, kind

#: steps between two views that together shear a matrix, as relative positions do
_NEAR = 4
_BETWEEN = ("pick", "copy", "pad", "sum", "scale", "mask", "transpose")


@check(
    "view-as-permute",
    "warning",
    "view and reshape keep the elements in their order: to give the dimensions another "
    "order they must be permuted, a view mixes their contents",
)
def view_as_permute(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    yield from places_as_channels(context, rule)
    if not context.of_kind("view"):
        return
    scrambles = context.axes.scrambles
    views = {scramble.call.index for scramble in scrambles}
    for scramble in scrambles:
        call = scramble.call
        given = call.inputs[0]
        if not scramble.sure or not context.axes.descends(given.id, DATA):
            continue
        if _sheared(context, call, views) or _heads(context, scramble):
            continue
        if folds(context, call, views) or _written_as_joined(scramble):
            continue
        made = (call.outputs or ())[0]
        sizes = "·".join(map(str, scramble.sizes))
        new = [
            "·".join(str(scramble.sizes[i]) for i in part) for part in scramble.order
        ]
        yield finding(
            context,
            rule,
            call,
            f"{call.name} makes {made.shape} of {given.shape}: the dimensions "
            f"({sizes}) get the order ({', '.join(new)}), but {call.name} moves no "
            "element, so their contents are mixed; permute was meant.",
            culprits=[culprit(context, call, "reorders sizes without moving elements")],
            fixes=[
                _unrepeated(context, scramble)
                or _stepwise(context, call, _permuted(scramble))
            ],
            shapes=[("input", given, None), ("output", made, None)],
            way=(given.id, None),
        )
    yield from cut_across(context, rule)
    yield from torn(context, rule)
    yield from _misnamed(context, rule, views)
    yield from _two_classes(context, rule, {one.call.index for one in scrambles})


def _misnamed(
    context: CheckContext, rule: Check, known: set[int]
) -> Iterator[Diagnosis]:
    """Views that would mix contents if two sizes were not the same by chance."""
    for one in misnamed(context):
        call, given = one.call, one.call.inputs[0]
        if call.index in known or not context.axes.descends(given.id, DATA):
            continue
        made = (call.outputs or ())[0]
        what = f"dimension {one.got}"
        meant = (
            f"the size of the input's dimension {one.wanted}, is asked for where its "
            f"{what} comes out, which is as long here"
        )
        if one.got is None:
            what = "heads or parts"
            meant = (
                f"the size of what comes out as dimension {one.wanted}, is asked for "
                f"in dimension {one.dim}, where {what} come out, as many here"
            )
        yield finding(
            context,
            rule,
            call,
            f"{call.name} makes {made.shape} of {given.shape}: `{one.name}`, {meant}; "
            "permute was meant.",
            culprits=[culprit(context, call, f"takes {what} for another")],
            fixes=[exchanged(context, one)],
            shapes=[
                ("input", given, None if one.got is None else one.wanted),
                ("output", made, one.dim),
            ],
            way=(given.id, None),
        )


def _two_classes(
    context: CheckContext, rule: Check, known: set[int]
) -> Iterator[Diagnosis]:
    """Scores of two classes, `(batch, 2, places)`, that are viewed as `(-1, 2)`: two
    fits nearly anywhere, but the loss takes for the classes what was places."""
    for loss in context.calls(*index_losses()):
        ref = context.sides[loss.index][0] if loss.index in context.sides else None
        call = None if ref is None else _last_view(context, ref)
        if ref is None or call is None or len(ref.shape) != 2 or call.index in known:
            continue
        given = call.inputs[0]
        root = context.axes.sole(ref.id, 1)
        at = [
            dim
            for dim in range(1, len(given.shape) - 1)
            if given.shape[dim] == ref.shape[1] and _is_made(context, given, dim)
        ]
        if root is None or len(at) != 1:
            continue
        if root not in context.axes.roots(given.id, len(given.shape) - 1):
            continue
        known.add(call.index)
        others = [d for d in range(len(given.shape)) if d != at[0]]
        steps = (("permute", (*others, at[0])), ("reshape", ref.shape))
        yield finding(
            context,
            rule,
            call,
            f"{call.name} makes {ref.shape} of {given.shape}: {loss.name} takes the "
            f"{ref.shape[1]} of dimension 1 for the classes, but they are cut out of "
            f"the last dimension, and the classes were dimension {at[0]}; permute was "
            "meant before it.",
            culprits=[culprit(context, call, "takes places for classes", 1)],
            fixes=[_flat(context, call, steps)],
            shapes=[("input", given, at[0]), ("output", ref, 1)],
            way=(given.id, at[0]),
        )


def _flat(
    context: CheckContext, call: FunctionCall, steps: tuple[Step, ...]
) -> Fix | None:
    """A permute before a view to (places, classes), however many places there are."""
    (_, order), (_, shape) = steps
    line = f"{{}}.permute({', '.join(map(str, order))}).reshape(-1, {shape[1]})"
    return context.trial(
        instead(call, line), Change(call, "args[0]", steps, instead=True)
    )


def _is_made(context: CheckContext, ref: TensorRef, dim: int) -> bool:
    """Whether a dimension is for certain one that a layer makes."""
    roots = context.axes.roots(ref.id, dim)
    return context.axes.sure(ref.id, dim) and all(
        kind == "parameter" for kind, _, _ in roots
    )


def _last_view(context: CheckContext, ref: TensorRef) -> FunctionCall | None:
    """The view that gave a prediction its shape, with nothing after it that changed
    more than its numbers."""
    made = context.made_by(ref.id)
    while made is not None and made.inputs and kind(made.name) != "view":
        if made.inputs[0].shape != ref.shape:
            return None
        made = context.made_by(made.inputs[0].id)
    return made if made is not None and made.inputs else None


def _unrepeated(context: CheckContext, scramble: Scramble) -> Fix | None:
    """The repeat that put the groups into another order than the view takes them in:
    whatever else descends from it is to follow, so the mistake is mended there."""
    source = scramble.call.inputs[0]
    for dim in range(len(source.shape)):
        for kind_of, tensor, _ in context.axes.roots(source.id, dim):
            made = context.made_by(tensor) if kind_of == "made" else None
            if made is not None and made.name in ("repeat", "tile") and made.outputs:
                given = made.inputs[0].shape[:1] or (1,)
                return interleaved(made, made.outputs[0].shape[0] // given[0])
    return None


def _permuted(scramble: Scramble) -> tuple[Step, ...]:
    """The permute that gives the dimensions that order, in the place of the view."""
    call = scramble.call
    made = (call.outputs or ())[0].shape
    before, after = made[: scramble.dims[0]], made[scramble.dims[-1] + 1 :]
    shape = (*before, *scramble.sizes, *after)
    flat = [i for part in scramble.order for i in part]
    dims = [*range(len(before)), *(len(before) + i for i in flat)]
    dims += range(len(dims), len(shape))
    steps: list[Step] = [("permute", tuple(dims))]
    if call.inputs[0].shape != shape:
        steps.insert(0, ("reshape", shape))
    if tuple(shape[d] for d in dims) != made:
        steps.append(("reshape", made))
    return tuple(steps)


def _stepwise(
    context: CheckContext, call: FunctionCall, steps: tuple[Step, ...]
) -> Fix | None:
    """The line with the steps in the place of a view, tried when it is told. Where the
    view stays the last of them, and where its sizes are only asked for in another
    order, they are told as the user has written them."""
    given = call.inputs[0]
    if len(steps) > 1 and steps[-1][0] == "reshape":
        first = _for_any_batch(context, given, steps[:-1])
        if first is not None and call.name == "view":  # which takes no permuted tensor
            first = (*first, ("contiguous", None))
        before = first and operand(call, given, stepwise(*first).text)
        if before and first:
            return context.trial(before, Change(call, given.path, first))
    sizes = sizes_of(call)
    if len(steps) == 2 and steps[1][0] == "permute" and len(sizes) == len(steps[1][1]):
        order = steps[1][1]
        asked = ", ".join(sizes[order.index(dim)] for dim in range(len(order)))
        line = f"{{}}.reshape({asked}){stepwise(*steps[1:]).text.removeprefix('{}')}"
    else:
        known = _for_any_batch(context, given, steps)
        if known is None:
            return None
        line, steps = stepwise(*known).text, known
    fix = instead(call, line)
    return context.trial(fix, Change(call, "args[0]", steps, instead=True))


def _for_any_batch(
    context: CheckContext, given: TensorRef, steps: tuple[Step, ...]
) -> tuple[Step, ...] | None:
    """The steps without a size that is this batch's: each reshape as the cut of one
    dimension, or as dimensions joined. None where it is more than that, or where two
    factors that are the data's are cut out of one dimension."""
    shape, made = given.shape, list[Step]()
    for name, value in steps:
        if name == "permute":
            made.append((name, value))
            shape = tuple([shape[dim] for dim in value])
            continue
        head = len(commonprefix([shape, value]))
        tail = len(commonprefix([shape[head:][::-1], value[head:][::-1]]))
        before, after = shape[head : len(shape) - tail], value[head : len(value) - tail]
        if not before:
            if set(after) > {1}:
                return None
            made += [("unsqueeze", head)] * len(after)
        elif len(after) == 1:
            made.append(("flatten", (head, len(shape) - tail - 1)))
        elif len(before) == 1:
            axes = [] if made else list(context.axes.of(given.id, head))
            data = [axis.size for axis in axes if _of_data(axis.roots)]
            if len(data) > 1 or not axes or data and data[0] not in after:
                return None
            cut = [-1 if [size] == data else size for size in after]
            if cut.count(-1) > 1:
                return None
            made.append(("unflatten", (head, tuple(cut))))
        else:
            return None
        shape = value
    return tuple(made)


def _of_data(roots: frozenset[Root]) -> bool:
    return any(root != "parameter" for root, _, _ in roots)


def _sheared(context: CheckContext, call: FunctionCall, views: set[int]) -> bool:
    """Whether the view is half of a shear: pad, view, cut, view back. Each row is
    shifted on purpose, as attention with relative positions does."""
    maker = context.made_by(call.inputs[0].id)
    if maker is not None and kind(maker.name) == "pad":
        return True
    if maker is not None and _filled(context, maker) and _cut(context, call):
        return True
    todo = [(ref.id, 0) for ref in call.outputs or ()]
    while todo:
        tensor, steps = todo.pop()
        for user in context.graph.users.get(tensor, ()):
            if not isinstance(user, FunctionCall) or steps > _NEAR:
                continue
            if user.index in views or _put_back(call, user):
                return True
            if kind(user.name) in _BETWEEN:
                todo += [(ref.id, steps + 1) for ref in user.outputs or ()]
    for _ in range(_NEAR):
        if maker is None or not maker.inputs:
            break
        if maker.index in views:
            return True
        if kind(maker.name) not in _BETWEEN:
            break
        maker = context.made_by(maker.inputs[0].id)
    return False


def _filled(context: CheckContext, maker: FunctionCall) -> bool:
    """Whether a cat adds one row of a filling to data, as a pad does."""
    if kind(maker.name) != "join":
        return False
    dim = argument(maker, "dim", 1)
    for ref in maker.inputs:
        fill = context.made_by(ref.id)
        if fill is not None and kind(fill.name) == "fill" and isinstance(dim, int):
            return -len(ref.shape) <= dim < len(ref.shape) and ref.shape[dim] == 1
    return False


def _cut(context: CheckContext, call: FunctionCall) -> bool:
    """Whether a part of the result is taken at once, and nothing else."""
    users = [user for ref in call.outputs or () for user, _ in context.follow(ref.id)]
    return bool(users) and all(user.name in ("getitem", "narrow") for user in users)


def _written_as_joined(scramble: Scramble) -> bool:
    """Whether the line asks for a product, `batch * windows`, where it gets what is one
    dimension elsewhere, as long by chance, and the sizes nest as they are."""
    asked, made = sizes_of(scramble.call), (scramble.call.outputs or ())[0].shape
    if len(asked) != len(made):
        return False
    joined = any(
        len(part) == 1 and "*" in asked[dim]
        for part, dim in zip(scramble.order, scramble.dims, strict=True)
    )
    return joined and nests(scramble.sizes, [made[dim] for dim in scramble.dims])


def _heads(context: CheckContext, scramble: Scramble) -> bool:
    """Whether a bmm soon takes what the view merged as its batch: a batch joined with
    the heads behind it, whose sizes happen to be those of the view's input too."""
    axes = context.axes
    todo = [(ref.id, 0) for ref in scramble.call.outputs or ()]
    merged = axes.roots(todo[0][0], scramble.dims[0])
    while todo:
        tensor, steps = todo.pop()
        for user, ref in context.follow(tensor):
            if kind(user.name) == "batch_product" and axes.roots(tensor, 0) == merged:
                return scramble.dims[0] != 0
            if kind(user.name) in _BETWEEN and steps < _NEAR:
                todo.append((ref.id, steps + 1))
    return False


def _put_back(view: FunctionCall, later: FunctionCall) -> bool:
    """Whether a later view gives the sizes before the first one again, but for one
    that a cut or a pad between them has changed."""
    if kind(later.name) != "view" or not later.outputs:
        return False
    before, after = view.inputs[0].shape, later.outputs[0].shape
    if len(before) != len(after):
        return False
    return sum(a != b for a, b in zip(before, after, strict=True)) == 1
