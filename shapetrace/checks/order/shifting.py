"""Labels of a language model that are its inputs, not shifted or shifted twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from shapetrace.checks.facts.arguments import argument
from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, data_culprit, finding
from shapetrace.checks.fixes.next_tokens import next_tokens
from shapetrace.checks.masks.triangles import is_triangle
from shapetrace.lineage.factors import Root
from shapetrace.records import Diagnosis, FunctionCall, TensorRef
from shapetrace.signatures import index_losses, kind, recurrent_setting


class Part(NamedTuple):
    """A stretch of a sequence: whose it is, and the first place of it."""

    tensor: int
    start: int


@check(
    "label-shift",
    "warning",
    "the labels of a causal language model are the tokens it was given, at the same "
    "place or two places on: it learns to copy, or to leave one out",
)
def label_shift(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    inputs: dict[int, list[tuple[int, FunctionCall]]] = {}
    for call in context.of_kind("embedding"):
        for ref in call.inputs[:1]:
            known = part(context, ref.id)
            inputs.setdefault(known.tensor, []).append((known.start, call))
    shifts: dict[int, list[tuple[int, FunctionCall]]] = {}
    for loss in context.calls(*index_losses()) if inputs else ():
        given, target = context.sides.get(loss.index, (None, None))
        if given is None or target is None:
            continue
        wanted = part(context, target.id)
        taken = [
            one for one in inputs.get(wanted.tensor, ()) if one[1].index < loss.index
        ]
        if len({start for start, _ in taken}) != 1:
            continue  # in several pieces, with others between
        embedding = taken[-1][1]
        if _same_places(context, embedding.inputs[0].id, given):
            shift = wanted.start - taken[-1][0] - part(context, given.id).start
            if shift != 1:
                shift += _put_before(context, embedding, given)
            shifts.setdefault(wanted.tensor, []).append((shift, loss))
    for tensor, found in shifts.items():
        if any(shift == 1 for shift, _ in found):
            continue  # a head beside it may look further on
        for shift, loss in found:
            embedding = inputs[tensor][0][1]
            if shift < 0 or _is_told_again(context, tensor, loss):
                continue
            if _is_causal(context, embedding, loss):
                yield _shifted(context, rule, loss, embedding, tensor, shift)


def _same_places(context: CheckContext, tokens: int, given: TensorRef) -> bool:
    """Whether the positions of a prediction are those of the tokens: an autoencoder
    makes positions of its own."""
    last = len(context.graph.tensors[tokens].shape) - 1
    time = context.axes.roots(tokens, last)
    return last >= 0 and any(
        time & context.axes.roots(given.id, dim) for dim in range(len(given.shape))
    )


def _put_before(
    context: CheckContext, embedding: FunctionCall, given: TensorRef
) -> int:
    """How many places a model puts before those of the tokens, as of an image, and does
    not take away again before its scores are cut."""
    tokens = embedding.inputs[0]
    time = context.axes.roots(tokens.id, len(tokens.shape) - 1)
    made = context.descendants(ref.id for ref in embedding.outputs or ())
    found, cut, tensor = 0, True, given.id
    for _ in range(_FAR):
        call = context.made_by(tensor)
        if call is None or call.index <= embedding.index:
            break
        cut = cut and _moved(context, call) is not None
        ref = next((ref for ref in call.inputs if ref.id in made), None)
        if ref is None:
            break
        if not cut:
            found += _added(context, call, ref, time)
        tensor = ref.id
    return found


def _added(
    context: CheckContext, call: FunctionCall, ref: TensorRef, time: frozenset[Root]
) -> int:
    """How many places a call puts before those of one of its inputs; less than 0 where
    it cuts some off."""
    shape = (call.outputs or ())[0].shape
    if (
        len(shape) != len(ref.shape)
        or call.name != "getitem"
        and kind(call.name) != "join"
    ):
        return 0
    changed = [d for d, size in enumerate(ref.shape) if shape[d] != size]
    if len(changed) != 1 or not time & context.axes.roots(ref.id, changed[0]):
        return 0
    if call.name == "getitem":
        return -(_cut(call) or 0)
    before = call.inputs[: call.inputs.index(ref)]
    return sum(one.shape[changed[0]] for one in before)


def _is_told_again(context: CheckContext, tokens: int, loss: FunctionCall) -> bool:
    """Whether the tokens are looked up behind another one as well, as a decoder takes
    them: what is to be predicted from all of them is no next token."""
    behind = context.graph.ancestors(context.sides[loss.index][0].id)
    made: set[int] | None = None
    for call in context.of_kind("embedding"):
        given = call.inputs[0].id
        if given in behind and part(context, given).tensor != tokens:
            made = context.descendants([tokens]) if made is None else made
            if given in made:
                return True
    return False


def _shifted(
    context: CheckContext,
    rule: Check,
    loss: FunctionCall,
    embedding: FunctionCall,
    tokens: int,
    shift: int,
) -> Diagnosis:
    given, target = context.sides[loss.index]
    assert target is not None
    what = "the token itself" if shift == 0 else f"the token {shift} places on"
    return finding(
        context,
        rule,
        loss,
        f"the labels are the input of {embedding.name} at {embedding.source}, and each "
        f"position is compared with {what}: a model that sees no later token is to "
        "predict the next one.",
        culprits=[
            data_culprit(context, target.id, f"is shifted by {shift}"),
            culprit(context, loss, "compares position by position"),
        ],
        fixes=[
            next_tokens(context, loss, tokens) if shift == 0 else None,
            "compare each position with the next token, logits[:, :-1] with ids[:, 1:]",
        ],
        shapes=[("input", given, None), ("target", target, None)],
        way=(target.id, None),
    )


def part(context: CheckContext, tensor: int) -> Part:
    """The sequence that a tensor is a stretch of, told by where it was cut, and put
    among constants; of several that were put together as rows, that of the first."""
    start = 0
    while True:
        call = context.made_by(tensor)
        moved = None if call is None else _moved(context, call)
        if moved is None:
            return Part(tensor, start)
        tensor, start = moved.tensor, start + moved.start


def _moved(context: CheckContext, call: FunctionCall) -> Part | None:
    """What a call hands on of one tensor, from where; None where it does more."""
    if not call.inputs:
        return None
    first, does = call.inputs[0], kind(call.name)
    if call.name == "getitem":
        cut = _cut(call)
        return None if cut is None else Part(first.id, cut)
    if call.name == "pad":
        widths = argument(call, "pad", 1)
        if not isinstance(widths, (tuple, list)) or len(widths) != 2:
            return None
        return Part(first.id, -widths[0] if isinstance(widths[0], int) else 0)
    if call.name == "roll" and argument(call, "dims", 2) in (-1, len(first.shape) - 1):
        count = argument(call, "shifts", 1)
        return Part(first.id, -count) if isinstance(count, int) else None
    if call.name in ("stack", "pad_sequence") and _are_rows(call):
        return Part(first.id, 0)
    if does == "join":
        return _among_constants(context, call)
    if call.name == "setitem" and (row := _first_row(context, call)) is not None:
        return row
    if call.name == "setitem" and len(call.inputs) == 2 and not _ignores(call):
        into = _cut(call)
        if into is None or not _is_constant(context, first):
            return None
        return Part(call.inputs[1].id, -into)
    if does in ("view", "copy", "cast", "transpose", "detach") or _ignores(call):
        return Part(first.id, 0)
    return None


def _are_rows(call: FunctionCall) -> bool:
    """Whether sequences are put together side by side, each from its beginning."""
    if call.name == "stack":
        return argument(call, "dim", 1) in (None, 0)
    return bool(call.kwargs.get("padding_side", "right") == "right")


def _first_row(context: CheckContext, call: FunctionCall) -> Part | None:
    """The first of the sequences that were written into the rows of a constant, one
    after the other."""
    found: Part | None = None
    while call.name == "setitem" and call.inputs:
        index = call.args[1]
        parts = index if isinstance(index, (tuple, list)) else (index,)
        if type(parts[0]) is not int:
            return None
        if len(call.inputs) == 2:
            rest = tuple(one for one in parts if type(one) is not int)
            into = _start(rest)
            if into is None or len(call.inputs[1].shape) != 1:
                return None
            found = Part(call.inputs[1].id, -into)
        if _is_constant(context, call.inputs[0]):
            return found
        before = context.made_by(call.inputs[0].id)
        if before is None:
            return None
        call = before
    return None


def _among_constants(context: CheckContext, call: FunctionCall) -> Part | None:
    """The one tensor that is joined with constants along the last dimension."""
    own = [ref for ref in call.inputs if not _is_constant(context, ref)]
    dim = argument(call, "dim", 1)
    if len(own) != 1 or dim not in (-1, len(own[0].shape) - 1):
        return None
    before = call.inputs[: call.inputs.index(own[0])]
    return Part(own[0].id, -sum(ref.shape[-1] for ref in before))


def _is_constant(context: CheckContext, ref: TensorRef) -> bool:
    made = context.made_by(ref.id)
    return made is not None and kind(made.name) == "fill"


def _ignores(call: FunctionCall) -> bool:
    """Whether a call writes a number that no label is to some places."""
    numbers = [one for one in call.args[1:] if isinstance(one, (int, float))]
    writes = call.name == "setitem" or plain(call.name) == "masked_fill"
    return writes and bool(numbers) and numbers[-1] < 0


def _cut(call: FunctionCall) -> int | None:
    """Where the last slice of an index begins; None for any other index."""
    index = call.args[1] if len(call.args) > 1 else None
    return _start(index if isinstance(index, (tuple, list)) else (index,))


def _start(parts: Sequence[object]) -> int | None:
    starts = []
    for one in parts:
        if one is Ellipsis or one == slice(None):
            continue
        if not isinstance(one, slice) or one.step not in (None, 1):
            return None
        starts.append(one.start or 0)
    if len(starts) > 1 or any(not isinstance(s, int) or s < 0 for s in starts):
        return None
    return starts[0] if starts else 0


def _is_causal(context: CheckContext, first: FunctionCall, last: FunctionCall) -> bool:
    """Whether what stands between looks at no later token: a recurrent layer that runs
    one way, or attention under a triangle."""
    behind = context.graph.ancestors(context.sides[last.index][0].id)
    between = context.descendants(ref.id for ref in first.outputs or ()) & behind
    for call in context.of_kind("recurrent", "attention", "mask", "sum"):
        if not any(ref.id in between for ref in call.outputs or ()):
            continue
        if kind(call.name) == "recurrent":
            if recurrent_setting(call, "bidirectional") is False:
                return True
        elif call.kwargs.get("is_causal") is True or argument(call, "is_causal", 5):
            return True
        elif any(is_triangle(context, ref.id) for ref in call.inputs):
            return True
    return False


#: calls of a model between its tokens and its scores
_FAR = 10_000
