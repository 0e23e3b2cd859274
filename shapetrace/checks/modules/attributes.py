"""Layers whose attributes were changed after their weights were made."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import explained
from shapetrace.checks.fixes.lines import built
from shapetrace.records import Culprit, Diagnosis, ModuleInfo, TensorRef
from shapetrace.signatures.sizes import sizes


@check(
    "attribute-mismatch",
    "warning",
    "an attribute of a layer says another size than its weight has: setting "
    "`out_features` of a layer that exists does not change its weight",
)
def attribute_mismatch(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    called = {call.name: call for call in context.graph.rec.calls}
    for name, call in called.items():
        info = context.graph.rec.modules.get(name)
        if info is None or not info.qualname.startswith("torch.nn.modules."):
            continue
        for attribute in sizes(info.type):
            value = info.attributes.get(attribute)
            odd = _disagreeing(info, attribute)
            if odd is None or not isinstance(value, int):
                continue
            ref, dim = odd
            fix = built(context, name, None, "", **{attribute: value})
            said = context.graph.spoken(call)
            reason = f"has {attribute} {value} and a {ref.path} of {ref.shape}"
            who = Culprit("module", name, dim, ref.shape[dim], value, reason=reason)
            found = Diagnosis(
                code=rule.code,
                severity=rule.severity,
                message=f"{said} says {attribute}={value}, but its {ref.path} is "
                f"{ref.shape}: it computes with {ref.shape[dim]}.",
                where=f"module:{name}",
                module=name,
                source=call.source,
                culprits=(who,),
                fixes=(fix,) if fix is not None else (),
                call=call.index,
            )
            yield explained(context.graph.rec, found, [(ref.path, ref, dim)])


def _disagreeing(info: ModuleInfo, attribute: str) -> tuple[TensorRef, int] | None:
    """A parameter of another size than an attribute says, where all of the layer's
    parameters agree on that other size: what is sharded or empty does not count."""
    own = {ref.path: ref for ref in info.parameters}
    value = info.attributes.get(attribute)
    found: list[tuple[TensorRef, int, int]] = []
    for tensor, dim, over in sizes(info.type)[attribute]:
        ref = own.get(tensor)
        parts = 1 if over is None else info.attributes.get(over, 1)
        if ref is not None and dim is not None and len(ref.shape) > abs(dim):
            found.append((ref, dim, ref.shape[dim] * parts))
    actual = {size for _, _, size in found}
    if not value or len(actual) != 1 or value in actual or 0 in actual:
        return None
    if info.attributes.get("proj_size") in actual:  # what such an LSTM hands itself
        return None
    return found[0][:2]
