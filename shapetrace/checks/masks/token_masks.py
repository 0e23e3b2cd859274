"""What True means in a mask of tokens, told by what compared or padded them."""

from __future__ import annotations

import operator
import re

from shapetrace.checks.facts.arguments import argument
from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.checks.fixes.lines import code_of
from shapetrace.checks.masks.framed_masks import PADS, framed
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.signatures import kind
from shapetrace.source.place import text

#: calls that leave every entry of a mask what it is
SAME = ("view", "unit", "expand", "copy", "cast", "transpose")
_NOT = frozenset(("logical_not", "bitwise_not", "invert", "__invert__"))
#: and others that do, of zeros and ones
_ENTRIES = ("getitem", "unfold", "bool", "int", "long")
#: `lengths`, `batch.seq_len[:, None]`, `(lengths - 1)[:, None]`: no difference of two
_PART = r"(\[[^\]]*\]|\.\w+\([^()]*\))*"
_NAME = r"[\w.]*len\w*" + _PART
_LENGTHS = re.compile(rf"({_NAME}( [-+] 1)?|\({_NAME} [-+] 1\){_PART})")
#: calls between a comparison and where its mask is used
_NEAR = 12


def meaning(
    context: CheckContext, mask: TensorRef, padded: bool = False
) -> tuple[bool, FunctionCall] | None:
    """Whether True means a token, and the comparison that says so; where `padded`, the
    padding of ones by zeros too."""
    tensor, turned = mask.id, False
    for _ in range(_NEAR):
        call = context.made_by(tensor)
        if call is None or not call.inputs:
            return None
        name = plain(call.name)
        data = framed(context, call) if padded and name in PADS else None
        if data is not None:
            return data != turned, call
        if name == "setitem":
            ones = _written_where(context, call)
            if ones is None:
                return None
            turned ^= not ones
            tensor = call.inputs[1].id
            continue
        if name in ("eq", "ne", "lt", "le", "gt", "ge"):
            found = _is_token(context, call)
            if found is not None:
                return found != turned, call
            zeros = _holds(call, 0), _holds(call, 1)
            if zeros not in ((True, False), (False, True)):
                return None
            turned ^= zeros[0]
        elif name in _NOT:
            turned = not turned
        elif name == "getitem" and len(call.inputs) > 1:
            return None
        elif kind(name) not in (*SAME, "repeat") and name not in _ENTRIES:
            return None
        tensor = call.inputs[0].id
    return None


def _holds(call: FunctionCall, entry: int) -> bool:
    """Whether a comparison with a number is True for that entry of a mask."""
    number = argument(call, "other", 1)
    if len(call.inputs) > 1 or not isinstance(number, (bool, int, float)):
        return False
    return bool(getattr(operator, plain(call.name))(entry, number))


def _written_where(context: CheckContext, call: FunctionCall) -> bool | None:
    """Whether ones are written into zeros where a mask is True, or zeros into ones;
    None where something else is written."""
    filled = context.made_by(call.inputs[0].id)
    if filled is None or len(call.inputs) != 2:
        return None
    value, before = argument(call, "value", 2), plain(filled.name).split("_")[0]
    known = {(0, "ones"): False, (1, "zeros"): True}
    if not isinstance(value, (int, float)) or str(call.inputs[1].dtype) != "torch.bool":
        return None
    return known.get((int(value), before)) if value in (0, 1) else None


def _is_token(context: CheckContext, call: FunctionCall) -> bool | None:
    """Whether a comparison is True for tokens: for what is not the padding's index, or
    for places before the length; None where it may compare something else."""
    name = plain(call.name)
    if len(call.inputs) == 1:
        index = argument(call, "other", 1)
        if name not in ("eq", "ne") or isinstance(index, bool):
            return None
        padding = _paddings(context).get(origin_of(context, call.inputs[0].id), ())
        said = None in padding and "pad" in text(call.source).lower()
        return name == "ne" if index in padding or said else None
    counts = [_counts(context, ref) for ref in call.inputs]
    if len(counts) != 2 or counts[0] == counts[1] or name in ("eq", "ne"):
        return None
    lengths = call.inputs[counts.index(False)]
    if not context.is_raw_data(lengths.id) or not _is_length(context, call, lengths):
        return None
    return (name in ("lt", "le")) == counts[0]


def _is_length(context: CheckContext, call: FunctionCall, ref: TensorRef) -> bool:
    """Whether what places are compared with is called a length, or divides a sum."""
    code = code_of(call, ref).lower()
    if _LENGTHS.fullmatch(code) and "pad" not in code:
        return True
    start = origin_of(context, ref.id)
    return any(
        origin_of(context, user.inputs[1].id) == start
        for user in context.calls("div")
        if len(user.inputs) == 2
    )


def _counts(context: CheckContext, ref: TensorRef) -> bool:
    made = context.made_by(origin_of(context, ref.id))
    return made is not None and made.name == "arange"


def origin_of(context: CheckContext, tensor: int) -> int:
    """The tensor whose entries these are."""
    call = context.made_by(tensor)
    while call is not None and len(call.inputs) == 1:
        if kind(call.name) not in SAME and call.name != "getitem":
            break
        tensor = call.inputs[0].id
        call = context.made_by(tensor)
    return tensor


def _paddings(context: CheckContext) -> dict[int, set[object]]:
    """Of the tokens that are looked up in an embedding, the index of the padding."""
    found: dict[int, set[object]] = {}
    for call in context.calls("embedding"):
        index = argument(call, "padding_idx", 2)
        if isinstance(index, int) and index < 0:
            index += call.inputs[1].shape[0]
        found.setdefault(origin_of(context, call.inputs[0].id), set()).add(index)
    return found
