"""What a recurrent layer gives, of which the wrong part is taken."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from shapetrace.checks.facts.arguments import argument
from shapetrace.checks.facts.batches import sequence_roles
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.records import (
    Culprit,
    Diagnosis,
    Fix,
    FunctionCall,
    ModuleCall,
    TensorRef,
)
from shapetrace.signatures import kind
from shapetrace.source.line import find


class Recurrent(NamedTuple):
    """A call of a recurrent layer; its states are those of `layers` times
    `directions`, a layer's directions next to each other, the last layer last."""

    call: FunctionCall
    name: str
    layers: int
    directions: int

    @property
    def output(self) -> TensorRef:
        return (self.call.outputs or ())[0]

    @property
    def states(self) -> tuple[TensorRef, ...]:
        return (self.call.outputs or ())[1:]


@check(
    "recurrent-output",
    "warning",
    "the part of a recurrent layer's output that is used has not seen the sequence: "
    "the last step of the direction that runs backwards, the padding behind shorter "
    "sequences, or the states of lower layers alone, so that those above are never "
    "trained",
)
def recurrent_output(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    for call in context.of_kind("recurrent"):
        layer = context.layer(call)
        info = None if layer is None else context.graph.rec.modules.get(layer.name)
        if layer is None or info is None or not call.outputs:
            continue
        layers = info.attributes.get("num_layers", 1)
        if any(_is_handed_out(context, layer, ref) for ref in call.outputs):
            continue
        both = info.attributes.get("bidirectional") is True
        one = Recurrent(call, layer.name, layers, 1 + both)
        of_states = [user for ref in one.states for user in _users(context, ref)]
        of_output = _users(context, one.output)
        found = None
        if of_output and not of_states and both:
            found = _last_step(context, rule, one, of_output)
        elif of_states and not of_output and layers * (1 + both) > 1:
            found = _lower_layers(context, rule, one, of_states)
        if found is not None:
            yield found
    for padded in context.calls("_pad_packed_sequence"):
        yield from _behind_the_end(context, rule, padded)


def _behind_the_end(
    context: CheckContext, rule: Check, padded: FunctionCall
) -> Iterator[Diagnosis]:
    """`out[:, -1]` of sequences of unequal lengths that were packed: of all but the
    longest it is the padding that was put behind them."""
    out, packed = (padded.outputs or ())[0], padded.inputs[0]
    time = 1 if argument(padded, "batch_first", 2) else 0
    batch, steps = out.shape[1 - time], out.shape[time]
    if packed.shape[0] == batch * padded.inputs[1].shape[0]:
        return  # all are equally long
    given = [out.id]
    given += [  # sorted back to where they came from
        ref.id for user, ref in context.follow(out.id) if user.name == "index_select"
    ]
    for taken, _ in (pair for tensor in given for pair in context.follow(tensor)):
        index = _index(taken)
        whole = [part for dim, part in enumerate(index) if dim != time]
        if len(index) <= time or index[time] not in (-1, steps - 1):
            continue
        if all(part == slice(None) for part in whole):
            yield finding(
                context,
                rule,
                taken,
                f"{taken.name} takes the last of {steps} steps of {out.shape}: of "
                "all but the longest sequences that is the padding that "
                "pad_packed_sequence puts behind their end.",
                culprits=[
                    culprit(context, taken, "takes the last step of all", time, steps),
                    culprit(context, padded, "pads the shorter sequences", time, steps),
                ],
                fixes=[
                    "take the last state that the layer returns, h_n[-1], or the "
                    "output of each sequence at its own length - 1"
                ],
                shapes=[("given", taken.inputs[0], time)],
                way=(taken.inputs[0].id, time),
            )


def _users(context: CheckContext, ref: TensorRef) -> list[FunctionCall]:
    """The calls that make something of a tensor."""
    users = context.graph.users.get(ref.id, ())
    return [one for one in users if isinstance(one, FunctionCall) and one.outputs]


def _is_handed_out(context: CheckContext, layer: ModuleCall, ref: TensorRef) -> bool:
    """Whether a module around a layer gives its tensor on: who takes it is unknown."""
    return any(
        out.id == ref.id
        for call in context.graph.rec.calls[: layer.index]
        for out in call.outputs or ()
    )


def _index(call: FunctionCall) -> tuple[object, ...]:
    """What stands in the brackets, dimension for dimension."""
    index = call.args[1] if call.name == "getitem" and len(call.args) > 1 else None
    return index if isinstance(index, tuple) else (index,)


def _last_step(
    context: CheckContext, rule: Check, one: Recurrent, users: list[FunctionCall]
) -> Diagnosis | None:
    """`out[:, -1]` of a layer that runs both ways, and nothing else of it."""
    roles = sequence_roles(context, one.call)
    if roles is None or len(users) != 1:
        return None
    (taken,), time = users, roles[0]
    index, steps = _index(taken), one.output.shape[time]
    whole = [part for dim, part in enumerate(index) if dim != time]
    if steps < 2 or len(index) <= time or index[time] not in (-1, steps - 1):
        return None
    if any(part != slice(None) for part in whole):
        return None
    made = (taken.outputs or ())[0]
    if any(kind(user.name) == "pick" for user in _users(context, made)):
        return None  # each direction for itself
    return _found(
        context,
        rule,
        one,
        taken,
        f"{taken.name} takes the last of {steps} steps of {one.output.shape}: the "
        f"direction of {context.graph.said(one.name)} that runs backwards has seen one "
        "step there, and is done at step 0.",
        _cut(taken, time, one.output.shape[-1] // 2),
        (one.output, time),
    )


def _lower_layers(
    context: CheckContext, rule: Check, one: Recurrent, users: list[FunctionCall]
) -> Diagnosis | None:
    """`h_n[0]` of two layers, and nothing else of them."""
    count = one.layers * one.directions
    picked = [_index(user)[0] for user in users]
    numbers = [part for part in picked if type(part) is int]
    if not numbers or len(numbers) < len(picked):
        return None
    top = max(part % count for part in numbers) // one.directions
    if top == one.layers - 1:
        return None
    taken = users[0]
    return _found(
        context,
        rule,
        one,
        taken,
        f"{taken.name} takes the state of layer {top} of {one.layers}, and nothing "
        f"else of {context.graph.said(one.name)} is used: what is above it is never "
        "trained.",
        _last_states(taken, one.directions),
        (taken.inputs[0], 0),
    )


def _found(
    context: CheckContext,
    rule: Check,
    one: Recurrent,
    taken: FunctionCall,
    message: str,
    fix: Fix | None,
    odd: tuple[TensorRef, int],
) -> Diagnosis:
    ref, dim = odd
    reason = "gives more than is taken"
    return finding(
        context,
        rule,
        taken,
        message,
        culprits=[
            culprit(context, taken, "takes one part alone", dim, ref.shape[dim]),
            Culprit("module", one.name, source=one.call.source, reason=reason),
        ],
        fixes=[fix],
        shapes=[("given", ref, dim)],
        way=(ref.id, dim),
    )


def _cut(taken: FunctionCall, time: int, half: int) -> Fix | None:
    """The last step of the first half of the features, and the first of the other."""
    line = find(taken.source)
    if line is None or not isinstance(line.tree, ast.Subscript):
        return None
    text, before = line.text(line.tree.value), ":, " * time
    after = ":, " * (1 - time)
    parts = f"{text}[{before}-1, {after}:{half}], {text}[{before}0, {after}{half}:]"
    return Fix(line.around(f"torch.cat([{parts}], dim=-1)"), where=line.source)


def _last_states(taken: FunctionCall, directions: int) -> Fix | None:
    """The state of the last layer; of both directions side by side."""
    line = find(taken.source)
    if line is None or not isinstance(line.tree, ast.Subscript):
        return None
    if directions > 1:
        text = line.text(line.tree.value)
        new = line.around(f"torch.cat([{text}[-2], {text}[-1]], dim=-1)")
        return Fix(new, where=line.source)
    index = line.tree.slice
    first = index.elts[0] if isinstance(index, ast.Tuple) else index
    return Fix(line.with_part(first, "-1"), where=line.source)
