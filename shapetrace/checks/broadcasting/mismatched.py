"""Who made two operands stretch each other, and what would mend it: asked of the
diagnosis, as of those that PyTorch minds."""

from __future__ import annotations

from dataclasses import replace
from itertools import zip_longest
from typing import NamedTuple

from shapetrace.checks.facts.comparing import compares
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check
from shapetrace.checks.finding.report import is_reported
from shapetrace.checks.fixes.lines import code_of
from shapetrace.diagnosis.consider import consider
from shapetrace.diagnosis.detection.detect import stretched
from shapetrace.diagnosis.explain import culprits, fixes
from shapetrace.records import Culprit, Fix, FunctionCall, TensorRef


class Told(NamedTuple):
    culprits: tuple[Culprit, ...] = ()
    fixes: tuple[Fix, ...] = ()


def told(
    context: CheckContext,
    rule: Check,
    call: FunctionCall,
    ref: TensorRef,
    other: TensorRef,
) -> Told:
    """The culprits and the fixes of two operands of a call; nothing where it is told
    already, or only asked whether there is a mistake."""
    if not context.asks or is_reported(context, rule, call):
        return Told()
    loss = compares(context, call)
    mismatch = stretched(context.graph, call, ref, other, loss)
    case, _, found = consider(context.graph, mismatch)
    who = list(culprits(case, found))
    if not loss:  # it is no target: it is called as it is written
        for at, (one, suspect) in enumerate(zip(who, found)):
            for operand in (ref, other):
                code = code_of(call, operand)
                own = one.kind in ("target", "input") and code
                if own and case.site_of(operand.id).key == suspect.site.key:
                    who[at] = replace(one, name=f"tensor `{code}`")
    lines = [fix for fix in fixes(case, found) if fix.status != "moved"]
    sure = {(fix.line, fix.where) for fix in lines if fix.status == "verified"}
    for suspect, blamed in zip_longest(found, who):
        for hypothesis in (entry.hypothesis for entry in suspect.scored):
            key = hypothesis.line, hypothesis.where
            if hypothesis.repair is not None and key in sure:
                context.repairs.setdefault(key, hypothesis.repair)
                context.blamed.setdefault(key, blamed)
    # what goes through is verified where the finding is gone with it, too
    return Told(tuple(who), tuple(replace(fix, status="untried") for fix in lines))
