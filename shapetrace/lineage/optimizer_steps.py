"""What an optimizer computes in its step, told from what the program does."""

from __future__ import annotations

from shapetrace.records import FunctionCall, Range, Recording

#: what torch calls the range of a step
STEP = "Optimizer.step#"


def program(rec: Recording) -> tuple[FunctionCall, ...]:
    """The calls of the program, without what optimizers compute of parameters and
    gradients in their steps: of 12 layers' Adam nine calls in ten. What a closure does
    is the program's: its lines are others than that of the step."""
    steps = [one for one in rec.ranges if one.name.startswith(STEP)]
    if not steps:
        return rec.functions
    found = []
    around: list[Range] = []
    ahead = iter(sorted(steps, key=lambda one: one.order))
    following = next(ahead, None)
    for call in rec.functions:
        while following is not None and following.order <= call.order:
            around.append(following)
            following = next(ahead, None)
        around = [one for one in around if call.order <= one.end_order]
        if call.parent is not None or all(call.source != s.source for s in around):
            found.append(call)
    return tuple(found)
