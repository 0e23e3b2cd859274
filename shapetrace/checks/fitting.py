"""Lines that bring the operands of a call to one shape."""

from __future__ import annotations

from collections.abc import Sequence

from shapetrace.checks.context import CheckContext, plain
from shapetrace.checks.lines import after, built, code_of, operand, undone
from shapetrace.checks.report import size_culprit
from shapetrace.checks.trying import Change
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
    """How to bring both to one shape."""
    target, given = ref, other
    if context.is_raw_data(other.id) and not context.is_raw_data(ref.id):
        target, given = other, ref
    gap = len(given.shape) - len(target.shape)
    if abs(gap) == 1:
        more, fewer = (given, target) if gap > 0 else (target, given)
        for dim, size in enumerate(more.shape):
            if size == 1 and without(more.shape, dim) == fewer.shape:
                mended = _for_all(context, more, fewer, dim) or _kept(
                    context, more, fewer, dim
                )
                if mended is not None:
                    return [mended]
                one = label(context, call, more, fewer)
                two = label(context, call, fewer, more)
                less = operand(call, more, f"{{}}.squeeze({dim})", one)
                wide = operand(call, fewer, f"{{}}.unsqueeze({dim})", two)
                lines = [
                    context.trial(less, Change(call, more.path, (("squeeze", dim),))),
                    context.trial(
                        wide, Change(call, fewer.path, (("unsqueeze", dim),))
                    ),
                ]
                return lines[::-1] if _meets(context, call, more.shape) else lines
    if len(given.shape) == len(target.shape):
        for dim, (a, b) in enumerate(zip(given.shape, target.shape)):
            if a != b and context.axes.from_parameter(given.id, dim):
                return [_wider(context, given, dim, b)]
            if a != b:
                low, high = (given, target) if a == 1 else (target, given)
                name = label(context, call, low, high)
                note = f"if it is meant for all along dimension {dim}"
                return [operand(call, low, f"{{}}.expand{high.shape}", name, note)]
    return [operand(call, given, f"{{}}.reshape{target.shape}", "prediction")]


def _for_all(
    context: CheckContext, more: TensorRef, fewer: TensorRef, dim: int
) -> Fix | None:
    """Where everybody who takes a tensor stretches it alike, the line that makes it: a
    mistake that stands twice is mended once."""
    users = [user for user, _ in context.follow(more.id)]
    alike = [user for user in users if fewer.shape in [r.shape for r in user.inputs]]
    made = context.made_by(more.id)
    if len(users) < 2 or len(alike) < len(users) or made is None or not made.inputs:
        return None
    change = Change(made, "output", (("squeeze", dim),))
    return context.trial(after(made, f"{{}}.squeeze({dim})"), change)


def _kept(
    context: CheckContext, more: TensorRef, fewer: TensorRef, dim: int
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
    change = Change(made, "output", (("unsqueeze", dim),))
    return context.trial(after(made, f"{{}}.unsqueeze({dim})"), change)


def _wider(context: CheckContext, given: TensorRef, dim: int, size: int) -> Fix | str:
    """The layer that makes a dimension, with another size."""
    who = size_culprit(context, given.id, dim, "")
    last = dim == len(given.shape) - 1
    key = "out_features" if last else "out_channels"
    if (
        who is not None
        and who.kind == "module"
        and _whole(context, who, key, given, dim)
    ):
        found = built(context, who.name, None, "", **{key: size})
        if found is not None:
            return found
    layer = "nn.Linear(..., {})" if last else "out_channels={}"
    return f"{layer.format(size)}  # the layer that makes dimension {dim}"


def _whole(
    context: CheckContext, who: Culprit, key: str, given: TensorRef, dim: int
) -> bool:
    """Whether a dimension is all that a layer makes, not one part of it, as a gate."""
    info = context.graph.rec.modules.get(who.name)
    return info is not None and info.attributes.get(key) == given.shape[dim]


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
