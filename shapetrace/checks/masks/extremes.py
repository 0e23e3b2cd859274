"""Entries that were filled to be left alone, and are what is picked in the end."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import islice
from math import prod
from typing import NamedTuple

import torch

from shapetrace.checks.facts.arguments import argument
from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.lineage.dimensions import PARAMETER
from shapetrace.records import Diagnosis, Fix, FunctionCall, TensorRef
from shapetrace.signatures import kind
from shapetrace.signatures.kinds import SAME_NUMBERS
from shapetrace.signatures.ordering import CONSTANTS, FILLED, order
from shapetrace.source.line import find

#: numbers further from 0 than this stand for no value of their own
_FAR = 1e4
#: calls between a mask and its product with such a number, or a view and its base
_NEAR = 6
#: what hands every number on; of what is picked the filled ones may be left out
_HANDS_ON = [one for one in SAME_NUMBERS if one != "pick"]
_VIEWS = ("pick", "view", "unit", "transpose", "detach")
_WORDS = {1: "largest", -1: "smallest"}


class Filled(NamedTuple):
    """A tensor with entries far above (1) or far below (-1) all others, by whom, and
    the call that has turned them round on the way."""

    sign: int
    call: FunctionCall
    value: float
    turned: FunctionCall | None = None


@check(
    "masked-entry-picked",
    "warning",
    "entries that were set to a very large or a very small number, to be left out, are "
    "the very ones that a later max, min or softmax picks",
)
def masked_entry_picked(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    known: dict[int, Filled] = {}
    for call in context.functions:
        if call.outputs is None:
            continue
        value = _value(context, call)
        if value is not None:
            _fill(context, known, call, value)
            continue
        if plain(call.name) in FILLED or call.name.endswith("_"):
            for tensor in _base(context, call) or ():
                known.pop(tensor, None)  # written over
        given = [ref for ref in call.inputs if ref.id in known]
        if len(given) != 1:
            continue
        state = known[given[0].id]
        picks = _picks(call)
        if picks == state.sign:
            if _is_wrong(context, call, given[0], state):
                yield _wrong(context, rule, call, given[0], state)
        elif not picks and (then := _after(call, given[0], state)) is not None:
            known.update((ref.id, then) for ref in call.outputs[:1])


def _value(context: CheckContext, call: FunctionCall) -> float | None:
    """The number far from all others that a call writes into some places."""
    name = plain(call.name)
    if name in FILLED:
        found = _number(context, argument(call, *FILLED[name]))
        if name == "fill" and _base(context, call) is None:
            return None  # all of it
    elif name == "where" and len(call.args) == 3:
        numbers = [_number(context, one) for one in call.args[1:]]
        found = next((one for one in numbers if one is not None), None)
    elif kind(name) == "scale" and len(call.inputs) == 1:
        found = _number(context, call.args[1] if len(call.args) > 1 else None)
        if found is not None and not _is_mask(context, call.inputs[0]):
            return None
    else:
        return None
    return found if found is not None and abs(found) >= _FAR else None


def _number(context: CheckContext, given: object) -> float | None:
    """An argument as a number, also where a tensor was made of that number alone."""
    if isinstance(given, TensorRef):
        made = context.made_by(given.id)
        if made is None or made.name not in CONSTANTS:
            return None
        numbers = [one for one in made.args[-1:] if isinstance(one, (int, float))]
        given = made.kwargs.get("fill_value", numbers[0] if numbers else None)
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        return None
    return float(given)


def _is_mask(context: CheckContext, ref: TensorRef) -> bool:
    """Whether a tensor is 1 in some places and 0 in the others."""
    if not ref.shape or context.axes.descends(ref.id, PARAMETER):
        return False
    for tensor, call in islice(context.graph.chain(ref.id), _NEAR):
        if context.graph.tensors[tensor].dtype is torch.bool or call.name == "eye":
            return True
        if any(one.dtype is torch.bool for one in call.inputs):
            return True
    return ref.dtype is torch.bool


def _base(context: CheckContext, call: FunctionCall) -> list[int] | None:
    """The tensors that a view is a part of; None for what is none."""
    found: list[int] = []
    if not call.inputs:
        return None
    ref = call.inputs[0]
    for _ in range(_NEAR):
        made = context.made_by(ref.id)
        if made is None or kind(made.name) not in _VIEWS or len(made.inputs) != 1:
            break
        ref = made.inputs[0]
        found.append(ref.id)
    return found or None


def _fill(
    context: CheckContext, known: dict[int, Filled], call: FunctionCall, value: float
) -> None:
    state = Filled(1 if value > 0 else -1, call, value)
    mixed = [known[ref.id] for ref in call.inputs if ref.id in known]
    made = [ref.id for ref in call.outputs or ()][:1]
    if any(one.sign != state.sign for one in mixed) and call.name != "fill_diagonal_":
        for tensor in made:
            known.pop(tensor, None)
        return  # some places high, others low
    if plain(call.name) in FILLED and call.name.endswith("_") or call.name == "setitem":
        made += _base(context, call) or []
    known.update(dict.fromkeys(made, state))


def _picks(call: FunctionCall) -> int:
    """1 where the largest numbers make the result, -1 for the smallest, 0 for none."""
    does = order(call.name)
    if len([ref for ref in call.inputs if ref.shape]) != 1:
        return 0  # the larger one of two tensors
    if does == "best":
        largest = argument(call, "largest", 3)
        return -1 if largest is False else 1
    return {"highest": 1, "lowest": -1}.get(does, 0)


def _is_wrong(
    context: CheckContext, call: FunctionCall, given: TensorRef, state: Filled
) -> bool:
    """Whether what is picked was meant to be left out. What is asked is only where the
    largest ones are: one that was filled may be kept on purpose."""
    if not context.axes.descends(given.id, PARAMETER) or not given.shape:
        return False
    made = (call.outputs or ())[0]
    if not made.dtype.is_floating_point:
        return state.turned is not None
    if not any(True for _ in context.follow(made.id)):
        return state.turned is not None and len(call.outputs or ()) > 1
    if made.shape == given.shape and kind(call.name) != "choose":  # a softmax
        return state.turned is not None or plain(state.call.name) == "masked_fill"
    return True


def _after(call: FunctionCall, given: TensorRef, state: Filled) -> Filled | None:
    """What a call makes of the filled entries; None where that is not known."""
    does = kind(call.name)
    factor = _factor(call, given)
    whole = does == "pick" and prod((call.outputs or ())[0].shape) == prod(given.shape)
    if does in _HANDS_ON or whole or order(call.name) == "rises":
        return state
    if order(call.name) == "falls":
        factor = -1.0
    elif order(call.name) == "even":
        factor = float(state.sign)
    elif plain(call.name) == "clamp_min" and state.sign > 0:
        return state
    if not factor:
        return None
    if factor > 0:
        return state
    turned = None if state.turned is not None else call
    return state._replace(sign=-state.sign, turned=turned)


def _factor(call: FunctionCall, given: TensorRef) -> float:
    """By what a sum or a product scales one of its operands; 0 where unknown."""
    first = given.path in ("args[0]", "kwargs['input']")
    others = [ref for ref in call.inputs if ref.id != given.id]
    name = plain(call.name)
    if kind(name) == "sum":
        return 1.0 if first != (name == "rsub") or name == "add" else -1.0
    if kind(name) != "scale":
        return 0.0
    if not others and len(call.args) > 1:
        number = call.args[1] if first else call.args[0]
        return float(number) if isinstance(number, (int, float)) and first else 0.0
    return 1.0 if first and all(not ref.shape for ref in others) else 0.0


def _wrong(
    context: CheckContext,
    rule: Check,
    call: FunctionCall,
    given: TensorRef,
    state: Filled,
) -> Diagnosis:
    fill, turned = state.call, state.turned
    way = "" if turned is None else f", which {turned.name} at {turned.source} turns"
    way += "" if turned is None else f" into the {_WORDS[state.sign]} numbers"
    return finding(
        context,
        rule,
        call,
        f"{call.name} takes the {_WORDS[state.sign]} numbers of {given.shape}, and "
        f"these are the entries that {fill.name} at {fill.source} has set to "
        f"{state.value:g}{way}.",
        culprits=[
            culprit(context, fill, f"fills with {state.value:g}"),
            culprit(context, call, f"picks the {_WORDS[state.sign]}"),
        ],
        fixes=[_negated(fill)],
        shapes=[("input", given, None)],
        way=(given.id, None),
    )


def _negated(call: FunctionCall) -> Fix | None:
    """The line with the other sign of the number that it fills with."""
    line = find(call.source)
    if line is None or not isinstance(line.tree, ast.Call) or not call.direct:
        return None
    values = [*line.tree.args, *(kw.value for kw in line.tree.keywords)]
    if plain(call.name) not in FILLED or not values:
        return None
    text = line.text(values[-1])
    if "inf" not in text and not text.lstrip("-")[:1].isdigit():
        return None
    if text.startswith("-"):
        new = text[1:]
    elif "'-" in text or '"-' in text:
        new = text.replace("'-", "'").replace('"-', '"')
    else:
        new = f"-{text}"
    return Fix(line.with_part(values[-1], new), where=line.source)
