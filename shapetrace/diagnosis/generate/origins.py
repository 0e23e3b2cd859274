"""Whoever gave either side what it has, whether or not a repair of theirs is known."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.detection.mismatch import Spot
from shapetrace.diagnosis.detection.uneven import makes_a_square
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.patterns.kept_state import kept_by_model
from shapetrace.diagnosis.patterns.missing_now import missing_now
from shapetrace.diagnosis.sites import (
    owner,
    site_of_call,
    site_of_data,
    site_of_module,
)
from shapetrace.diagnosis.words.reasons import said_of
from shapetrace.records import FunctionCall

_KINDS = ("size", "rank", "numel")


def origins(case: Case) -> Iterator[Hypothesis | None]:
    """Named, and no more: what would mend it is for other generators to say."""
    if case.mismatch.kind not in _KINDS:
        return
    left, right = case.mismatch.left, case.mismatch.right
    for spot, other, makers in zip((left, right), (right, left), case.makers):
        if spot is None or spot.tensor is None:
            continue
        fits = other.size if other is not None and other.dim is not None else None
        if case.graph.is_parameter(spot.tensor):
            yield _holder(case, spot, fits)
        elif case.mismatch.kind != "rank":
            # of data whose elements are counted the whole shape is told, not a factor
            counted = case.mismatch.kind == "numel"
            yield from (
                one
                for one in makers
                if not (counted and one.site.kind in ("input", "target"))
            )
        elif spot.dim is not None:  # one too many, whoever made its size
            ref = case.graph.tensors[spot.tensor]
            site = case.site_of(ref.id)
            size = case.graph.size(ref.id, spot.dim)
            reason = said_of(case, site, ref)
            yield Hypothesis("unknown", site, reason=reason, dim=spot.dim, size=size)
    kept = kept_by_model(case)
    if kept is not None:
        site = site_of_call(case.graph, kept.made)
        yield Hypothesis("unknown", site, hops=1, size=kept.size)
    apart = _apart(case)
    for ref in case.operands:
        if ref.id in apart or case.graph.is_parameter(ref.id):
            continue
        site = case.site_of(ref.id)
        yield Hypothesis("unknown", site, hops=1, reason=said_of(case, site, ref))
    yield _short_of(case)
    for missing in missing_now(case):
        shape, name, at = missing.ref.shape, missing.joined.name, missing.joined.source
        reason = (
            f"is missing: an earlier batch had {shape}, which `{name}` at {at} joined"
        )
        yield Hypothesis("unknown", missing.site, hops=1, reason=reason)
    for behind in case.behind:
        call = behind.call
        shapes = makes_a_square(call) if isinstance(call, FunctionCall) else None
        if shapes is not None:
            reason = f"stretches both {shapes[0]} and {shapes[1]}"
            site = site_of_call(case.graph, call)
            yield Hypothesis("unknown", site, hops=behind.hops, reason=reason)
    if case.layer is not None:
        own = site_of_module(case.layer)
    else:
        own = site_of_call(case.graph, case.call)
    taken = " and ".join(str(ref.shape) for ref in case.operands[:2])
    yield Hypothesis("unknown", own, reason=f"takes {taken}" if taken else "")


def _apart(case: Case) -> set[int]:
    """The tensors of the failing call that have no part in it: where two others
    disagree, or one is not as the call wants it."""
    spots = {spot.tensor for spot in case.mismatch.spots} - {None}
    if case.mismatch.kind not in ("size", "rank") or not spots:
        return set()
    return {ref.id for ref in case.call.inputs} - spots


def _short_of(case: Case) -> Hypothesis | None:
    """The labels that lack a factor of the prediction's: whoever gave them their shape
    last, they are the user's to make."""
    target = case.target
    if target is None or case.graph.from_model(target.id):
        return None
    for side, other in (case.factors, case.factors[::-1]):
        if side.target and side.shared and not side.odd and other.odd:
            site = site_of_data(case.graph, target.id, target=True)
            more = prod(leaf.size for leaf in other.odd)
            reason = f"has {target.shape}, the prediction {more} times as much"
            return Hypothesis("unknown", site, hops=1, reason=reason)
    return None


def _holder(case: Case, spot: Spot, fits: int | None) -> Hypothesis | None:
    """The module that holds a parameter."""
    assert spot.tensor is not None
    name = owner(case.graph, spot.tensor)
    if name is None:
        return None
    site = case.site_named(name)
    reason = said_of(case, site, case.graph.tensors[spot.tensor])
    return Hypothesis("unknown", site, reason=reason, size=spot.size, expected=fits)
