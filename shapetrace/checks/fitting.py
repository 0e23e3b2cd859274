"""Lines that bring the operands of a call to one shape."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from shapetrace.checks.context import CheckContext, plain
from shapetrace.checks.lines import after, built, code_of, named_first, operand, undone
from shapetrace.checks.report import size_culprit
from shapetrace.checks.trying import Change, Step, written
from shapetrace.records import Culprit, Fix, FunctionCall, ModuleCall, TensorRef
from shapetrace.signatures import is_loss, named

#: what follows a difference in a hand-written loss
_ERRORS = named("power") | {"norm"}
#: calls that take one of several distances, or weigh them against each other
_CHOOSES = named("choose", "softmin", "softmax") | {"neg", "exp"}
#: calls after one that are looked at for what it meets
_NEAR = 4


def to_one_shape(
    context: CheckContext, call: FunctionCall, ref: TensorRef, other: TensorRef
) -> Sequence[Fix | str | None]:
    """How to bring both to one shape, in lines that hold for a batch of any size; none
    where only the user can know."""
    target, given = ref, other
    if context.is_raw_data(other.id) and not context.is_raw_data(ref.id):
        target, given = other, ref
    more, fewer = target, given
    if len(given.shape) > len(target.shape):
        more, fewer = given, target
    ones = _ones(more.shape, fewer.shape)
    if ones:
        return _without_ones(context, call, more, fewer, ones)
    if len(given.shape) != len(target.shape):
        return []
    odd = [dim for dim, (a, b) in enumerate(zip(given.shape, target.shape)) if a != b]
    if context.axes.from_parameter(given.id, odd[0]):
        return [_wider(context, given, odd[0], target.shape[odd[0]])]
    if prod(given.shape) == prod(target.shape):
        like = _name(call, target)
        pair = (given, target) if like or not _name(call, given) else (target, given)
        return [_like(context, call, *pair, "reshape_as")]
    low, high = (given, target) if given.shape[odd[0]] == 1 else (target, given)
    note = f"if it is meant for all along dimension {odd[0]}"
    return [_like(context, call, low, high, "expand_as", note)]


def _like(
    context: CheckContext,
    call: FunctionCall,
    ref: TensorRef,
    other: TensorRef,
    method: str,
    note: str = "",
) -> Fix | None:
    """One tensor with the shape of another, which is not computed a second time."""
    like = _name(call, other)
    if like:
        return operand(call, ref, f"{{}}.{method}({like})", note)
    return named_first(call, other, label(context, call, other, ref), ref, method, note)


def _name(call: FunctionCall, ref: TensorRef) -> str:
    """How a call's tensor is written, where that is a name."""
    code = code_of(call, ref)
    return code if code.replace(".", "").isidentifier() else ""


def _ones(more: tuple[int, ...], fewer: tuple[int, ...]) -> list[int]:
    """The dimensions of 1 without which the one shape is the other; none where they
    differ in more than that.

    >>> _ones((6, 3, 1, 1), (6, 3)), _ones((6, 1), (1, 6))
    ([2, 3], [])
    """
    found: list[int] = []
    for dim, size in enumerate(more):
        at = dim - len(found)
        if at >= len(fewer) or fewer[at] != size:
            found.append(dim)
    return found if _left(more, found) == fewer else []


def _left(shape: tuple[int, ...], ones: Sequence[int]) -> tuple[int, ...] | None:
    """A shape without some dimensions; None where one of those is not 1."""
    if any(shape[dim] != 1 for dim in ones):
        return None
    return tuple(size for dim, size in enumerate(shape) if dim not in ones)


def _without_ones(
    context: CheckContext,
    call: FunctionCall,
    more: TensorRef,
    fewer: TensorRef,
    ones: list[int],
) -> list[Fix | None]:
    """The dimensions of 1 taken from one tensor, or given to the other."""
    less: tuple[Step, ...] = tuple([("squeeze", dim) for dim in reversed(ones)])
    wide: tuple[Step, ...] = tuple([("unsqueeze", dim) for dim in ones])
    start = ones[0] - 1
    if len(ones) > 1 and start > 0 and ones == [*range(ones[0], len(more.shape))]:
        less = (("flatten", start),)
    mended = _for_all(context, more, fewer, less) or _kept(context, more, fewer, wide)
    if mended is not None:
        return [mended]
    lines = []
    for ref, other, steps in ((more, fewer, less), (fewer, more, wide)):
        line = operand(call, ref, written(steps))
        lines.append(context.trial(line, Change(call, ref.path, steps)))
    return lines[::-1] if _meets(context, call, more.shape) else lines


def _for_all(
    context: CheckContext, more: TensorRef, fewer: TensorRef, steps: tuple[Step, ...]
) -> Fix | None:
    """Where everybody who takes a tensor stretches it alike, the line that makes it: a
    mistake that stands twice is mended once."""
    users = [user for user, _ in context.follow(more.id)]
    alike = [user for user in users if fewer.shape in [r.shape for r in user.inputs]]
    made = context.made_by(more.id)
    if len(users) < 2 or len(alike) < len(users) or made is None or not made.inputs:
        return None
    return context.trial(after(made, written(steps)), Change(made, "output", steps))


def _kept(
    context: CheckContext, more: TensorRef, fewer: TensorRef, steps: tuple[Step, ...]
) -> Fix | None:
    """Where everybody who takes a tensor meets the dimension that it lacks, the line
    that dropped that dimension, with it kept."""
    users = [user for user, _ in context.follow(fewer.id)]
    alike = [user for user in users if more.shape in [r.shape for r in user.inputs]]
    made = context.made_by(fewer.id)
    if len(alike) < len(users) or made is None or not made.inputs:
        return None
    if made.inputs[0].shape == more.shape and made.name in ("squeeze", "getitem"):
        return context.trial(undone(made), Change(made, "args[0]", instead=True))
    if len(users) < 2:
        return None
    return context.trial(after(made, written(steps)), Change(made, "output", steps))


def _wider(context: CheckContext, given: TensorRef, dim: int, size: int) -> Fix | str:
    """The layer that makes a dimension, with another size."""
    who = size_culprit(context, given.id, dim, "")
    last = dim == len(given.shape) - 1
    key = "out_features" if last else "out_channels"
    if (
        who is not None
        and who.kind == "module"
        and _whole(context, who, key, given, dim)
        and _alone(context, given, dim)
    ):
        found = built(context, who.name, None, "", **{key: size})
        if found is not None:
            return found
    return f"let the layer that makes dimension {dim} make {size}"


def _whole(
    context: CheckContext, who: Culprit, key: str, given: TensorRef, dim: int
) -> bool:
    """Whether a dimension is all that a layer makes, not one part of it, as a gate."""
    info = context.graph.rec.modules.get(who.name)
    return info is not None and info.attributes.get(key) == given.shape[dim]


def _alone(context: CheckContext, given: TensorRef, dim: int) -> bool:
    """Whether no other layer has made the same dimension, as of a mean and a spread:
    with one of both rebuilt, the other would stretch it again."""
    trail = context.graph.trail(given.id, dim)
    size = given.shape[dim]
    for hop in trail.hops:
        if hop.call is trail.end.call:
            break
        for ref in hop.call.inputs:
            at = hop.dim - len(context.graph.tensors[hop.tensor].shape)
            if len(ref.shape) < -at or ref.shape[at] != size:
                continue
            end = context.graph.trail(ref.id, at + len(ref.shape)).end
            if end.kind == "parameter" and end.tensor != trail.end.tensor:
                return False
    return True


def _meets(context: CheckContext, call: FunctionCall, shape: tuple[int, ...]) -> bool:
    """Whether what a call makes is soon put together with a tensor of that shape."""
    todo = [(call.outputs or ())[0].id]
    for _ in range(_NEAR):
        for user, made in context.follow(todo.pop(0)):
            if any(ref.shape == shape for ref in user.inputs):
                return True
            todo.append(made.id)
        if not todo:
            break
    return False


def label(
    context: CheckContext, call: FunctionCall, ref: TensorRef, other: TensorRef
) -> str:
    """What one operand is called beside the other."""
    raw = context.is_raw_data(ref.id)
    if not compares(context, call) and (code := code_of(call, ref)):
        return code
    if raw != context.is_raw_data(other.id):
        return "target" if raw else "prediction"
    first = next(one.id for one in call.inputs if one.id in (ref.id, other.id))
    if call.index in context.sides:
        return "input" if ref.id == first else "target"
    return "first" if ref.id == first else "second"


def without(shape: tuple[int, ...], dim: int) -> tuple[int, ...]:
    return shape[:dim] + shape[dim + 1 :]


def compares(context: CheckContext, call: FunctionCall) -> bool:
    """Whether a call compares a prediction with a target: a loss of torch's, or a
    difference that is squared, or whose size is taken."""
    if is_loss(call.name):
        return True
    users = [user for ref in call.outputs or () for user, _ in context.follow(ref.id)]
    named_so = plain(call.name) in ("sub", "rsub")
    return named_so and any(is_error(context, user) for user in users)


def is_error(context: CheckContext, user: FunctionCall | ModuleCall) -> bool:
    """Whether a call makes an error of a difference: its square, or its size, and not
    a distance of which the nearest is picked."""
    if plain(user.name) == "mul":
        return len(user.inputs) == 2 and user.inputs[0].id == user.inputs[1].id
    if plain(user.name) not in _ERRORS:
        return False
    made = [ref.id for ref in user.outputs or ()]
    return not any(
        plain(later.name) in _CHOOSES
        for tensor in made
        for later in context.graph.users.get(tensor, ())
    )
