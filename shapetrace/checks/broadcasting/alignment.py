"""Operands of fewer dimensions that meet the wrong dimension of the other."""

from __future__ import annotations

from shapetrace.checks.broadcasting.row_statistics import may_be_symmetric, statistic_of
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check
from shapetrace.checks.finding.report import culprit, finding, size_culprit
from shapetrace.checks.finding.together import paired
from shapetrace.checks.finding.trying import Change
from shapetrace.checks.fixes.lines import columns_up_to, operand
from shapetrace.records import Diagnosis, Fix, FunctionCall, TensorRef
from shapetrace.signatures import is_elementwise, kind

#: calls that leave a dimension what it is
_HANDED_ON = (
    *("copy", "cast", "detach", "transpose", "unit"),
    *("pointwise", "power", "activation", "sigmoid"),
)
#: calls between the columns of a tensor and where they meet
_NEAR = 8


def misaligned(
    context: CheckContext, rule: Check, call: FunctionCall
) -> Diagnosis | None:
    """One value a sample, `(N,)`, spread along the features of `(N, C)` because C is
    the same number: both descend from one dimension of the data, and stand apart."""
    low, tall = sorted(call.inputs, key=lambda ref: len(ref.shape))
    found = _own_reduction(context, rule, call, low, tall)
    found = found or _picked(context, rule, call, low, tall)
    found = found or _taken_apart(context, rule, call, low, tall)
    if found is not None or context.is_raw_data(tall.id):
        return found  # a matrix that came so: the order of its dimensions is the user's
    places = _places(context, call, low, tall)
    lead = len(tall.shape) - len(low.shape)
    wrong = [dim for dim, place in enumerate(places) if place != dim + lead]
    if not wrong or places != sorted(set(places)):
        return None
    dim, size = wrong[0], low.shape[wrong[0]]
    at, meant = dim + lead, places[dim]
    if not _other_dimension(context, low, dim, tall, at):
        return None
    return finding(
        context,
        rule,
        call,
        f"{call.name} broadcasts {low.shape} against {tall.shape}: dimension {dim} of "
        f"the first, the {size} of the data, is dimension {meant} of the second, but "
        f"it is spread along dimension {at}, which has {size} by chance.",
        culprits=[
            culprit(context, call, "aligns the last dimensions", at, size),
            size_culprit(context, tall.id, at, f"makes {size}"),
        ],
        fixes=[operand(call, low, _spread(low, places, len(tall.shape)))],
        shapes=[("first", low, dim), ("second", tall, at)],
        way=(low.id, dim),
    )


def _own_reduction(
    context: CheckContext,
    rule: Check,
    call: FunctionCall,
    low: TensorRef,
    tall: TensorRef,
) -> Diagnosis | None:
    """`x - x.mean(1)` of a square: what is left of x meets its last dimension."""
    found = statistic_of(context, call, low, tall)
    if found is None:
        return None
    made, places = found
    direct = made.inputs[0].id == tall.id and (made.outputs or ())[0].id == low.id
    if context.is_raw_data(tall.id) and not (direct and _centred(context, made, call)):
        return None
    lead = len(tall.shape) - len(low.shape)
    for dim, place in enumerate(places):
        at = dim + lead
        if place is None or place == at:
            continue
        if may_be_symmetric(context, tall, place, at):
            return None
        of = "was made of" if made.inputs[0].id == tall.id else "belongs to"
        return finding(
            context,
            rule,
            call,
            f"{call.name} broadcasts {made.name}'s {low.shape} against the "
            f"{tall.shape} that it {of}: dimension {place} meets dimension "
            f"{at}, which has {low.shape[dim]} by chance.",
            culprits=[
                culprit(context, made, "drops the dimension", dim, low.shape[dim]),
                culprit(context, call, "aligns the last dimensions", at),
            ],
            fixes=[_unsqueezed(context, call, low, lead + place)],
            shapes=[("first", low, dim), ("second", tall, at)],
            way=(low.id, dim),
        )
    return None


def _centred(context: CheckContext, made: FunctionCall, call: FunctionCall) -> bool:
    """Whether data is freed from its mean. A matrix that came so, of distances or of a
    graph, may be the same both ways: its rows are divided by sums, its means taken off
    in both directions."""
    tall = made.inputs[0]
    means = [user for user, _ in context.follow(tall.id) if user.name == "mean"]
    return made.name == "mean" and call.name == "sub" and len(means) == 1


def _picked(
    context: CheckContext,
    rule: Check,
    call: FunctionCall,
    low: TensorRef,
    tall: TensorRef,
) -> Diagnosis | None:
    """`x[:, 2] - x[:, 2:4]` of two rows: one column of a tensor, a number for each row,
    meets several columns of the same tensor, along its columns."""
    last = len(low.shape)
    if len(tall.shape) != last + 1 or low.shape[-1:] != tall.shape[-1:]:
        return None
    rows, columns = _way(context, low, last - 1), _way(context, tall, last)
    across, size = _way(context, tall, last - 1), low.shape[-1]
    for (tensor, dim), pick in rows.items():
        whole = context.graph.tensors[tensor]
        if pick is None or (tensor, dim) not in across or size < 2:
            continue
        met = [at for one, at in columns if one == tensor and at != dim]
        if not met or whole.shape[met[0]] == size:
            continue  # of a square, rows and columns may be the same
        return finding(
            context,
            rule,
            call,
            f"{call.name} broadcasts {low.shape} against {tall.shape}: {pick.name} "
            f"took one number for each of the {size} rows of {whole.shape}, "
            f"and they meet {size} columns of them, which are as many by chance.",
            culprits=[
                culprit(context, pick, "takes one number for each row", last - 1, size),
                culprit(context, call, "aligns the last dimensions", last, size),
            ],
            fixes=[
                _columns(context, pick, size) or _unsqueezed(context, call, low, last)
            ],
            shapes=[("rows", low, last - 1), ("columns", tall, last)],
            way=(low.id, last - 1),
        )
    return None


def _columns(context: CheckContext, pick: FunctionCall, count: int) -> Fix | None:
    """The index of one column as that of so many, tried."""
    index = pick.args[1] if len(pick.args) > 1 else ()
    if not isinstance(index, tuple) or index.count(count) != 1:
        return None
    meant = tuple([slice(None, count) if one == count else one for one in index])
    change = Change(pick, settings={"index": meant})
    return context.trial(columns_up_to(pick, count), change)


def _way(
    context: CheckContext, ref: TensorRef, dim: int
) -> dict[tuple[int, int], FunctionCall | None]:
    """The dimensions of earlier tensors that a dimension is, or is cut out of, each
    with the index that dropped another dimension on the way."""
    found: dict[tuple[int, int], FunctionCall | None] = {(ref.id, dim): None}
    tensor, pick = ref.id, None
    for _ in range(_NEAR):
        call = context.made_by(tensor)
        if call is None or not call.inputs or not call.outputs:
            break
        if not is_elementwise(call.name) and kind(call.name) not in (
            *_HANDED_ON,
            "pick",
        ):
            break
        origin = context.graph.relation(call).outputs[0][dim]
        if not origin.sure or not origin.sources:
            break
        (place, at), *others = origin.sources
        if others and not is_elementwise(call.name):
            break
        if len(call.inputs[place].shape) > len(call.outputs[0].shape):
            pick = call
        tensor, dim = call.inputs[place].id, at
        found[tensor, dim] = pick
    return found


def _taken_apart(
    context: CheckContext,
    rule: Check,
    call: FunctionCall,
    low: TensorRef,
    tall: TensorRef,
) -> Diagnosis | None:
    """A batch that meets a parameter's own dimension, whose parts are then taken for
    different things: `(self.shift_and_scale + x).chunk(2, 1)` with two samples."""
    owner = context.graph.origin(context.undressed(tall.id))
    lead = len(tall.shape) - len(low.shape)
    if owner is None or lead < 1 or not low.shape:
        return None
    if owner.kind != "parameter" and not owner.requires_grad:
        return None
    root, count = context.axes.sole(low.id, 0), low.shape[0]
    if root is None or root[2] != 0 or count < 2 or tall.shape[lead] != count:
        return None
    made = (call.outputs or ())[0]
    users = [user for user, _ in context.follow(made.id)]
    if not any(_separates(user, made, lead) for user in users):
        return None
    return finding(
        context,
        rule,
        call,
        f"{call.name} broadcasts {low.shape} against a parameter of {tall.shape}: "
        f"the batch of {count} is spread along dimension {lead}, whose "
        f"{count} parts are taken apart after it.",
        culprits=[
            culprit(context, call, "aligns the last dimensions", lead, count),
            size_culprit(context, low.id, 0, f"has a batch of {count}"),
        ],
        fixes=[_unsqueezed(context, call, low, 1)],
        shapes=[("batch", low, 0), ("parameter", tall, lead)],
        way=(low.id, 0),
    )


def _unsqueezed(
    context: CheckContext, call: FunctionCall, ref: TensorRef, dim: int
) -> Fix | None:
    fix = operand(call, ref, f"{{}}.unsqueeze({dim})")
    return context.trial(fix, Change(call, ref.path, (("unsqueeze", dim),)))


def _separates(user: FunctionCall, made: TensorRef, dim: int) -> bool:
    """Whether a call hands out every part of a dimension by itself."""
    parts = user.outputs or ()
    return (
        kind(user.name) == "pick"
        and len(parts) == made.shape[dim]
        and all(len(p.shape) < len(made.shape) or p.shape[dim] == 1 for p in parts)
    )


def _places(
    context: CheckContext, call: FunctionCall, low: TensorRef, tall: TensorRef
) -> list[int]:
    """For each dimension of `low` the one dimension of `tall` that is the same of the
    data, or that other lines pair with it; where there is none, the one that it is
    broadcast to."""
    lead = len(tall.shape) - len(low.shape)
    found = []
    for dim, size in enumerate(low.shape):
        root = context.axes.sole(low.id, dim) if size > 1 else None
        line = call.source
        known = set() if root is None else paired(context.meetings, root, line)
        same = [
            place
            for place in range(len(tall.shape))
            if not known.isdisjoint(context.axes.roots(tall.id, place))
        ]
        sole = len(same) == 1 and context.axes.sole(tall.id, same[0]) in known
        found.append(same[0] if sole else dim + lead)
    return found


def _other_dimension(
    context: CheckContext, low: TensorRef, dim: int, tall: TensorRef, at: int
) -> bool:
    """Whether the dimension that is met is surely another one, and no batch: samples
    may be paired one to one."""
    if low.shape[dim] != tall.shape[at] or not context.axes.sure(tall.id, at):
        return False
    roots = context.axes.roots(tall.id, at)
    root = context.axes.sole(low.id, dim)
    if root is not None and any(tensor == root[1] for _, tensor, _ in roots):
        return False  # a square matrix of the data: rows and columns are the same nodes
    return all(
        kind == "parameter" or (kind == "data" and place != 0)
        for kind, _, place in roots
    )


def _spread(low: TensorRef, places: list[int], rank: int) -> str:
    """The line that puts the dimensions where they belong."""
    if len(low.shape) == 1:
        return f"{{}}.view({', '.join(['-1'] + ['1'] * (rank - 1 - places[0]))})"
    line = "{}"
    for place in range(places[0], rank):
        if place not in places:
            line += f".unsqueeze({place - places[0]})"
    return line
