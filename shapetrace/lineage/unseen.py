"""Without functions, what happens between module calls is unseen: guesses bridge it."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from math import prod

from shapetrace.records import FunctionCall, ModuleCall, Recording, TensorRef
from shapetrace.signatures import Relation, relate

UNSEEN = "unseen code"
#: bridges are no calls of the recording: their indices count down from here
_FIRST = -2


def bridges(
    rec: Recording, made: Mapping[int, FunctionCall | ModuleCall]
) -> dict[int, FunctionCall]:
    """A guessed call for each tensor that came up inside a forward, or with a grad_fn:
    its source is the newest earlier tensor of as many elements and of its kind."""
    earlier: dict[tuple[int, bool], list[tuple[int, TensorRef]]] = defaultdict(list)
    for call in rec.calls:
        seen = [(call.order, ref) for ref in call.inputs]
        seen += [(call.end_order, ref) for ref in call.outputs or ()]
        for at, ref in seen:
            earlier[_kind(ref)].append((at, ref))
    for known in earlier.values():
        known.sort(key=lambda entry: entry[0])
    found: dict[int, FunctionCall] = {}
    met = set(made)
    for call in rec.calls:
        for ref in call.inputs:
            if ref.id in met:
                continue
            met.add(ref.id)  # where it is met first decides: a root's input is data
            if not _is_unseen(rec, call, ref):
                continue
            known = earlier[_kind(ref)]
            at = bisect_left(known, call.order, key=lambda entry: entry[0])
            if at:
                found[ref.id] = _guess(ref, known[at - 1][1], call, _FIRST - len(found))
    return found


def _kind(ref: TensorRef) -> tuple[int, bool]:
    return prod(ref.shape), ref.dtype.is_floating_point


def _is_unseen(rec: Recording, call: ModuleCall, ref: TensorRef) -> bool:
    """Data that a user hands in has no grad_fn and no traced module around it."""
    origin = rec.origins.get(ref.id)
    if origin is not None and origin.kind in ("parameter", "buffer"):
        return False
    if origin is not None and origin.kind == "unseen":
        return True
    return call.parent is not None


def _guess(
    ref: TensorRef, source: TensorRef, call: ModuleCall, index: int
) -> FunctionCall:
    source = replace(source, path="args[0]")
    return FunctionCall(
        index=index,
        parent=call.parent,
        name=UNSEEN,
        qualname="",
        inputs=(source,),
        outputs=(replace(ref, path="output"),),
        args=(source, *ref.shape),
        order=call.order,
    )


def bridge(call: FunctionCall) -> Relation:
    """The dimensions as a reshape would relate them, each of them a guess."""
    told = relate(replace(call, name="reshape", qualname="torch.Tensor.reshape"))
    return Relation(
        tuple(tuple(replace(dim, sure=False) for dim in dims) for dims in told.outputs),
        {},
        guessed=True,
    )
