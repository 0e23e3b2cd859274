"""Models that are given, at later places, the tokens that they are to predict."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.facts.arguments import argument, softmax_dim
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, data_culprit, finding
from shapetrace.checks.masks.masks import masks_of
from shapetrace.checks.order.shifting import Part, part
from shapetrace.lineage.dimensions import DATA, PARAMETER
from shapetrace.records import Diagnosis, FunctionCall, TensorRef
from shapetrace.signatures import index_losses, kind, recurrent_setting

#: parts of a cat or a stack that are followed
_MOST = 64
#: calls whose result has at each place what their input had there
_EACH = (
    "view unit transpose copy cast detach pack activation sigmoid dropout sum scale "
    "power pointwise softmax log_softmax norm unit_length linear"
).split()
#: calls by which a layer's input becomes queries, keys and values
_MAKES_QUERIES = (
    *("linear", "product", "view", "unit", "transpose", "copy", "cast", "pick"),
    *("scale", "norm"),
)
_CAT = ("cat", "concat", "concatenate")


@check(
    "reads-ahead",
    "warning",
    "the labels are the input tokens one place on, and the model sees all places: it "
    "copies what it is to predict, and has nothing to copy when it generates",
)
def reads_ahead(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    embedded = [
        (call, dict(_parts(context, call.inputs[0].id)))
        for call in context.of_kind("embedding")
    ]
    told: set[int] = set()
    for loss in context.calls(*index_losses()) if embedded else ():
        given, target = context.sides.get(loss.index, (None, None))
        if given is None or target is None:
            continue
        begun = part(context, given.id).start
        labels = {base: start - begun for base, start in _parts(context, target.id)}
        starts = [
            ref.id
            for call, parts in embedded
            if _is_next(labels, parts)
            for ref in call.outputs or ()
        ]
        if not starts:
            continue
        tokens, behind = _along(context, starts), _behind(context, given)
        for call in _all_places(context, tokens):
            out = (call.outputs or ())[0]
            if call.index in told or out.id not in behind:
                continue
            told.add(call.index)
            yield _ahead(context, rule, call, target, loss)


def _ahead(
    context: CheckContext,
    rule: Check,
    call: FunctionCall,
    target: TensorRef,
    loss: FunctionCall,
) -> Diagnosis:
    how = "runs both ways over" if kind(call.name) == "recurrent" else "attends to"
    return finding(
        context,
        rule,
        call,
        f"{call.name} {how} all tokens, and {loss.name} at {loss.source} compares each "
        "place with the next of these tokens: what is to be predicted is in the input. "
        "A causal mask, or a layer that is not bidirectional, was meant.",
        culprits=[
            culprit(context, call, "sees later tokens"),
            data_culprit(context, target.id, "is the input one place on"),
        ],
        shapes=[("input", call.inputs[0], None), ("target", target, None)],
        way=(call.inputs[0].id, None),
    )


def _is_next(labels: dict[int, int], tokens: dict[int, int]) -> bool:
    """Whether labels are the tokens one place on, in all that both have."""
    shifts = {labels[base] - tokens[base] for base in labels.keys() & tokens.keys()}
    return shifts == {1}


def _parts(context: CheckContext, tensor: int) -> Iterator[Part]:
    """What a sequence is a stretch of, and what it was put together from: each with
    the place in it that this sequence begins with."""
    todo = [Part(tensor, 0)]
    for _ in range(_MOST):
        if not todo:
            break
        one, start = todo.pop()
        base = part(context, one)
        start += base.start
        call = context.made_by(base.tensor)
        if call is not None and call.name == "stack" and call.outputs:
            if (argument(call, "dim", 1) or 0) in (0, -len(call.outputs[0].shape)):
                todo += [Part(ref.id, start) for ref in call.inputs]
        elif call is not None and call.name in _CAT and call.outputs:
            rank, dim = len(call.outputs[0].shape), argument(call, "dim", 1) or 0
            if isinstance(dim, int) and dim % rank == rank - 1:
                at = start
                for ref in call.inputs:
                    todo.append(Part(ref.id, at))
                    at -= ref.shape[-1]
        elif call is not None and call.name == "_pack_padded_sequence":
            todo.append(Part(call.inputs[0].id, start))
            continue
        if call is not None and kind(call.name) == "fill":
            continue  # the padding, wherever it is
        if context.graph.tensors[base.tensor].shape[-1:] > (1,):
            yield Part(base.tensor, start)


def _kept(context: CheckContext, call: FunctionCall) -> tuple[TensorRef, ...]:
    """The inputs whose places are those of a call's first result."""
    name = kind(call.name)
    if not call.outputs or not call.inputs:
        return ()
    made = call.outputs[0]
    if name in ("recurrent", "attention", "linear"):
        return call.inputs[:1]
    if call.name == "index_select":  # samples sorted for a packing, and back
        return call.inputs[:1] if call.inputs[0].shape == made.shape else ()
    if name in _EACH:
        return call.inputs
    if name == "pick" and call.name == "getitem":
        given = call.inputs[0]
        same = len(given.shape) == len(made.shape) and len(call.inputs) == 1
        return (given,) if same and given.shape[-1] == made.shape[-1] else ()
    if name == "join" and call.name != "stack":
        dim, rank = argument(call, "dim", 1) or 0, len(made.shape)
        return call.inputs if isinstance(dim, int) and dim % rank == rank - 1 else ()
    if name in ("product", "batch_product"):
        weights = [
            ref for ref in call.inputs if not context.axes.descends(ref.id, DATA)
        ]
        return call.inputs[:1] if weights else ()
    return ()


def _along(context: CheckContext, tensors: list[int]) -> set[int]:
    """All that has at each place what was made of the token there."""
    todo, seen = list(tensors), set(tensors)
    while todo:
        tensor = todo.pop()
        for user in context.graph.users.get(tensor, ()):
            if not isinstance(user, FunctionCall) or not user.outputs:
                continue
            kept = any(ref.id == tensor for ref in _kept(context, user))
            parts = user.outputs if _cuts_features(user) else user.outputs[:1]
            if kept or _cuts_features(user):
                for ref in parts:
                    if ref.id not in seen:
                        seen.add(ref.id)
                        todo.append(ref.id)
    return seen


def _cuts_features(call: FunctionCall) -> bool:
    """Whether a call cuts queries, keys and values apart."""
    if kind(call.name) != "pick" or not call.inputs or call.name == "getitem":
        return False
    dim, rank = argument(call, "dim", 2), len(call.inputs[0].shape)
    return isinstance(dim, int) and dim % rank == rank - 1


def _all_places(context: CheckContext, tokens: set[int]) -> Iterator[FunctionCall]:
    """The calls that look at all of the tokens, wherever the one is that they are at:
    for hand-written attention the product with the values."""
    for call in context.of_kind("recurrent"):
        if call.inputs[0].id in tokens:
            if recurrent_setting(call, "bidirectional") is True:
                yield call
    for call in context.of_kind("attention"):
        if _of_one(context, call.inputs[:2], tokens) and _is_open(call):
            yield call
    for call in context.of_kind("softmax"):
        scores, dim = call.inputs[0], softmax_dim(call)
        rank = len(scores.shape)
        if rank < 3 or dim != rank - 1 or scores.shape[-1] != scores.shape[-2]:
            continue
        if any(_by_places(mask) for _, mask in masks_of(context, call)):
            continue
        if not _of_tokens(context, scores, tokens):
            continue
        for user, _ in context.follow((call.outputs or ())[0].id):
            if kind(user.name) in ("product", "batch_product"):
                yield user


def _is_open(call: FunctionCall) -> bool:
    """Whether attention has no mask that may hide later keys from a query."""
    place = 3 if call.name == "scaled_dot_product_attention" else None
    mask = call.kwargs.get("attn_mask")
    if mask is None and place is not None and len(call.args) > place:
        mask = call.args[place]
    causal = call.kwargs.get("is_causal")
    if causal is None and place is not None:
        causal = argument(call, "is_causal", 5)
    if causal:
        return False
    return mask is None or isinstance(mask, TensorRef) and not _by_places(mask)


def _by_places(mask: TensorRef) -> bool:
    """Whether a mask may be another one for each query."""
    return len(mask.shape) > 1 and mask.shape[-2] > 1


def _of_tokens(context: CheckContext, scores: TensorRef, tokens: set[int]) -> bool:
    """Whether scores are the product of queries and keys of the tokens, with nothing
    done to them but what `masks_of` tells of."""
    call = context.made_by(scores.id)
    while call is not None and kind(call.name) in ("scale", "mask", "sum", "cast"):
        scored = [
            one for one in call.inputs if context.axes.descends(one.id, PARAMETER)
        ]
        if len(scored) != 1:
            return False
        call = context.made_by(scored[0].id)
    if call is None or kind(call.name) not in ("product", "batch_product"):
        return False
    return len(call.inputs) == 2 and _of_one(context, call.inputs, tokens)


def _of_one(
    context: CheckContext, pair: tuple[TensorRef, ...], tokens: set[int]
) -> bool:
    """Whether queries and keys are made of one tensor, each place for itself: what has
    read all of a sentence, to write it again, is another one."""
    found = set()
    for ref in pair:
        tensor = ref.id
        call = context.made_by(tensor)
        while call is not None and call.inputs and tensor in tokens:
            if kind(call.name) not in _MAKES_QUERIES:
                break
            tensor = call.inputs[0].id
            call = context.made_by(tensor)
        found.add(tensor)
    return len(found) == 1 and found <= tokens


def _behind(context: CheckContext, given: TensorRef) -> set[int]:
    """All that predictions have at each place what was there: of a layer that runs both
    ways, both halves, not the one that saw what came before alone."""
    todo, seen = [given.id], {given.id}
    while todo:
        call = context.made_by(todo.pop())
        for ref in () if call is None else _kept(context, call):
            if ref.id not in seen and not _halved(call, ref):
                seen.add(ref.id)
                todo.append(ref.id)
    return seen


def _halved(call: FunctionCall | None, ref: TensorRef) -> bool:
    """Whether a view cuts the features, both directions perhaps, apart."""
    if call is None or kind(call.name) != "view" or not call.outputs:
        return False
    made = call.outputs[0]
    return len(made.shape) > len(ref.shape) and made.shape[-1] < ref.shape[-1]
