"""Heads behind each sample that are cut off as if they were before all samples."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.facts.arguments import argument
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.records import Diagnosis, FunctionCall

_CUTS = ("chunk", "tensor_split", "split")


def cut_across(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    """Samples of which each has its heads one behind the other, cut into as many parts
    as there are heads, and the parts laid side by side: each is some samples with all
    their heads, and no head of all samples."""
    for call in context.calls("cat", "concat", "concatenate"):
        cut = _cut(context, call)
        if cut is None:
            continue
        given, dim = cut.inputs[0], argument(cut, "dim", 2) or 0
        joined = argument(call, "dim", 1) or 0
        if not isinstance(dim, int) or not isinstance(joined, int):
            continue
        dim %= len(given.shape)
        if joined % len(given.shape) == dim:
            continue
        axes = [axis for axis in context.axes.of(given.id, dim) if axis.size > 1]
        if len(axes) < 2 or not all(axis.sure for axis in axes):
            continue
        *samples, heads = axes
        if heads.size != len(call.inputs) or heads.size == 2:
            continue  # two fits nearly anywhere
        if not _are(heads.roots, "parameter"):
            continue
        if not all(_are(axis.roots, "data") for axis in samples):
            continue
        sizes = "·".join(str(axis.size) for axis in axes)
        yield finding(
            context,
            rule,
            cut,
            f"dimension {dim} of {given.shape} is {sizes}: each sample's {heads.size} "
            f"heads lie one behind the other, but {cut.name} makes {heads.size} parts "
            "of it as if each head held all samples, so the parts that cat lays side "
            "by side are of different samples; view and permute were meant.",
            culprits=[
                culprit(context, cut, "takes samples for heads", dim),
                culprit(context, call, "lays the parts side by side", joined),
            ],
            shapes=[("input", given, dim), ("output", (call.outputs or ())[0], None)],
            way=(given.id, dim),
        )


def _cut(context: CheckContext, call: FunctionCall) -> FunctionCall | None:
    """The call that made all parts of a join, in their order, and no others."""
    made = [context.made_by(ref.id) for ref in call.inputs]
    first = made[0] if made else None
    if first is None or first.name not in _CUTS or not first.inputs:
        return None
    parts = [ref.id for ref in first.outputs or ()]
    return first if parts == [ref.id for ref in call.inputs] else None


def _are(roots: frozenset[tuple[str, int, int]], kind: str) -> bool:
    return bool(roots) and all(one == kind for one, _, _ in roots)
