"""LSTMs whose cell state is another's hidden state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from shapetrace.checks.finding.context import SAME_VALUES, CheckContext, plain
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.lineage import Call
from shapetrace.records import Diagnosis, FunctionCall, TensorRef

#: what reads a tensor's values and makes no other
_READS = ("item", "tolist", "numpy", "__array__", "bool", "float")


class _States(NamedTuple):
    """The hidden and the cell state that an LSTM gives, and the call that made them."""

    call: FunctionCall
    hidden: TensorRef
    cell: TensorRef


@check(
    "hidden-as-cell",
    "warning",
    "an LSTM starts from the hidden state of another in the place of its cell state: "
    "what that has kept in its cells is lost",
)
def hidden_as_cell(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    lstms = context.calls("lstm", "lstm_cell")
    made = [_States(one, *(one.outputs or ())[-2:]) for one in lstms]
    hidden = {one.hidden.id: one for one in made}
    cell = {one.cell.id: one for one in made}
    for call in lstms:
        given = _given(call)
        if given is None:
            continue
        roots = [_roots(context, ref) for ref in given]
        if not roots[1] <= hidden.keys():
            continue
        takers = [hidden[one] for one in sorted(roots[1])]
        swapped = bool(roots[0]) and roots[0] <= cell.keys()
        if not swapped and roots[0] != roots[1]:
            continue
        if not swapped and any(_is_used(context, one.cell) for one in takers):
            continue
        yield _found(context, rule, call, given, takers[0], swapped)


def _given(call: FunctionCall) -> tuple[TensorRef, TensorRef] | None:
    """The states that a call starts from."""
    for place in ("args[1]", "args[2]"):  # behind the sizes of what is packed
        found = [ref for ref in call.inputs if ref.path.startswith(f"{place}[")]
        if len(found) == 2 and found[0].shape[:-1] == found[1].shape[:-1]:
            return found[0], found[1]
    return None


def _handed_on(call: Call | None) -> Iterable[TensorRef]:
    if not isinstance(call, FunctionCall) or plain(call.name) not in SAME_VALUES:
        return ()
    joins = not call.inputs or call.inputs[0].path.startswith("args[0][")
    return call.inputs if joins else call.inputs[:1]


def _roots(context: CheckContext, ref: TensorRef) -> set[int]:
    """The tensors of which a state is made by views, choices and copies alone."""
    behind = context.graph.behind(ref.id, _handed_on)
    return {tensor for tensor, call in behind if not _handed_on(call)}


def _is_used(context: CheckContext, ref: TensorRef) -> bool:
    """Whether anything is computed of a tensor, or read in it."""
    todo, seen = [ref.id], {ref.id}
    while todo:
        tensor = todo.pop()
        for user in context.graph.users.get(tensor, ()):
            taken = {one.id for one in _handed_on(user)}
            if tensor not in taken:
                if user.outputs or plain(user.name) in _READS:
                    return True
                continue
            for made in user.outputs or ():
                if made.id not in seen:
                    seen.add(made.id)
                    todo.append(made.id)
    return False


def _own_call(
    context: CheckContext, given: tuple[TensorRef, TensorRef]
) -> FunctionCall | None:
    """The first call on the way of the cell state alone."""
    of_hidden = context.graph.ancestors(given[0].id)
    tensor, found = given[1].id, None
    while tensor not in of_hidden:
        call = context.made_by(tensor)
        if call is None or not call.inputs:
            break
        found, tensor = call, call.inputs[0].id
    return found


def _found(
    context: CheckContext,
    rule: Check,
    call: FunctionCall,
    given: tuple[TensorRef, TensorRef],
    giver: _States,
    swapped: bool,
) -> Diagnosis:
    names = [_said(context, one) for one in (call, giver.call)]
    if swapped:
        message = (
            f"{names[0]} gets the two states of {names[1]} in the other order: the "
            "cell state c for its hidden state, and the hidden state h for its cell "
            "state."
        )
        fix = "hand the states on as (h, c), the hidden state first"
    else:
        message = (
            f"{names[0]} gets the hidden state h of {names[1]} for its cell state as "
            "well, and the cell state c that belongs to it is never used."
        )
        fix = f"hand on both states of {names[1]}, (h, c), in the place of (h, h)"
    own = None if swapped else _own_call(context, given)
    return finding(
        context,
        rule,
        call,
        message,
        culprits=[
            (
                None
                if own is None
                else culprit(context, own, "takes h once more, and not c")
            ),
            culprit(context, call, "starts from h in the place of c"),
            culprit(context, giver.call, "gives the cell state too"),
        ],
        fixes=[fix],
        shapes=[("hidden state", given[0], None), ("cell state", given[1], None)],
        way=(given[1].id, None),
    )


def _said(context: CheckContext, call: FunctionCall) -> str:
    """What a text calls the layer of a call."""
    layer = context.layer(call)
    return plain(call.name) if layer is None else context.graph.spoken(layer)
