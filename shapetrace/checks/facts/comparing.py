"""Who compares a prediction with a target."""

from __future__ import annotations

from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.records import FunctionCall, ModuleCall
from shapetrace.signatures import is_loss, named

#: what follows a difference in a hand-written loss
_ERRORS = named("power") | {"norm"}
#: calls that take one of several distances, or weigh them against each other
_CHOOSES = named("choose", "softmin", "softmax") | {"neg", "exp"}


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
