"""Labels of a language model that are its inputs, not shifted or shifted twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from shapetrace.checks.activations import argument
from shapetrace.checks.context import CheckContext, plain
from shapetrace.checks.next_tokens import next_tokens
from shapetrace.checks.registry import Check, check
from shapetrace.checks.report import culprit, data_culprit, finding
from shapetrace.records import Diagnosis, FunctionCall, ModuleCall, TensorRef
from shapetrace.signatures import index_losses, kind, recurrent_setting
from shapetrace.source.filling import filled_by, given_by


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
    inputs: dict[int, tuple[int, FunctionCall]] = {}
    for call in context.of_kind("embedding"):
        for ref in call.inputs[:1]:
            known = part(context, ref.id)
            inputs.setdefault(known.tensor, (known.start, call))
    shifts: dict[int, list[tuple[int, FunctionCall]]] = {}
    for loss in context.calls(*index_losses()) if inputs else ():
        given, target = context.sides.get(loss.index, (None, None))
        if given is None or target is None:
            continue
        wanted = part(context, target.id)
        if wanted.tensor in inputs and _same_places(context, wanted.tensor, given):
            start = inputs[wanted.tensor][0] + part(context, given.id).start
            shifts.setdefault(wanted.tensor, []).append((wanted.start - start, loss))
    for tensor, found in shifts.items():
        if any(shift == 1 for shift, _ in found):
            continue  # a head beside it may look further on
        for shift, loss in found:
            embedding = inputs[tensor][1]
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
    """The sequence that a tensor is a stretch of, told by where it was cut."""
    start = 0
    while True:
        call = context.made_by(tensor)
        if call is None or not call.inputs:
            return Part(tensor, start)
        if call.name == "getitem":
            cut = _cut(call)
            if cut is None:
                return Part(tensor, start)
            start += cut
        elif call.name == "pad":
            widths = argument(call, "pad", 1)
            if not isinstance(widths, (tuple, list)) or len(widths) != 2:
                return Part(tensor, start)
            start -= widths[0] if isinstance(widths[0], int) else 0
        elif kind(call.name) not in ("view", "copy", "cast", "transpose", "detach"):
            return Part(tensor, start)
        tensor = call.inputs[0].id


def _cut(call: FunctionCall) -> int | None:
    """Where the last slice of an index begins; None for any other index."""
    index = call.args[1] if len(call.args) > 1 else None
    parts = index if isinstance(index, (tuple, list)) else (index,)
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
        elif any(_triangle(context, ref.id) for ref in call.inputs):
            return True
    return False


def _triangle(context: CheckContext, tensor: int) -> bool:
    """Whether a mask was made by tril or triu, or of places that are compared with each
    other, in the block or before it."""
    for _ in range(_NEAR):
        call = context.made_by(tensor)
        if call is None:
            return bool(_made_before(context, tensor) & _TRIANGLES)
        if not call.inputs:
            return False
        if plain(call.name) in _TRIANGLES or _orders(context, call):
            return True
        tensor = call.inputs[0].id
    return False


def _made_before(context: CheckContext, tensor: int) -> frozenset[str]:
    """The functions that filled a buffer, or what was given from outside."""
    rec, origin = context.graph.rec, context.graph.origin(tensor)
    shape = context.graph.tensors[tensor].shape
    square = len(shape) > 1 and shape[-2] == shape[-1]
    if origin is None or origin.kind == "parameter" or not square:
        return frozenset()
    if origin.kind == "buffer":
        home, _, name = origin.name.rpartition(".")
        info = rec.modules.get(home)
        return frozenset() if info is None else filled_by(info, name)
    takers: list[FunctionCall | ModuleCall] = [
        call for call in rec.calls if any(ref.id == tensor for ref in call.inputs)
    ]
    takers += context.graph.users.get(tensor, ())[:1]
    for call in takers[:1]:
        ref = next(ref for ref in call.inputs if ref.id == tensor)
        return given_by(rec, call, ref.path)
    return frozenset()


def _orders(context: CheckContext, call: FunctionCall) -> bool:
    """Whether a call compares places along two dimensions: no later one is seen."""
    if plain(call.name) not in ("lt", "le", "gt", "ge") or len(call.inputs) != 2:
        return False
    counts = [context.made_by(context.undressed(ref.id)) for ref in call.inputs]
    made = (call.outputs or ())[0]
    crossed = all(ref.shape != made.shape for ref in call.inputs)
    return crossed and all(
        one is not None and kind(one.name) == "count" for one in counts
    )


#: what makes a mask that hides what comes later
_TRIANGLES = frozenset(("tril", "triu", "generate_square_subsequent_mask"))
#: calls between a triangle and where it masks
_NEAR = 8
