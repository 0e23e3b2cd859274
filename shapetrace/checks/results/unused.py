"""Modules whose results nobody uses."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, explained, finding
from shapetrace.checks.fixes.statements import chained
from shapetrace.checks.results.discarded import is_missed
from shapetrace.checks.results.layers import overwritten, unwatched
from shapetrace.checks.results.stores import Lost, lost_values
from shapetrace.records import Culprit, Diagnosis, ModuleCall, Severity


@check(
    "unused-output",
    "note",
    "nothing uses what a module has computed: a dead branch, or a forgotten return",
)
def unused_output(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    rec = context.graph.rec
    used = {ref.id for call in rec.functions for ref in call.inputs}
    used |= {ref.id for call in rec.calls for ref in call.inputs}
    for call in rec.calls:
        # what a forward that was cut short would have done with it is not known
        if call.parent is None or rec.calls[call.parent].error is not None:
            used |= {ref.id for ref in call.outputs or ()}
    unused = {
        call.index
        for call in rec.calls
        if call.parent is not None
        and call.outputs
        and call.error is None
        and not unwatched(call)
        and not any(ref.id in used for ref in call.outputs)
    }
    for lost, last in overwritten(context):
        unused -= {call.index for call in lost}
        yield _overwritten(context, rule, lost, last)
    for store in lost_values(context):
        unused.discard(store.call.index if isinstance(store.call, ModuleCall) else -1)
        yield _lost(context, rule, store)
    seen: set[str] = set()
    for index in sorted(unused):
        call = rec.calls[index]
        if call.parent not in unused and call.name not in seen:
            seen.add(call.name)
            severity: Severity | None = None
            if is_missed(context, call):
                severity = "warning"
            yield _unused(context, rule, call, severity)


def _overwritten(
    context: CheckContext, rule: Check, lost: list[ModuleCall], last: ModuleCall
) -> Diagnosis:
    """`for layer in layers: out = layer(x)`: each layer is given the first input."""
    *names, kept = (context.graph.spoken(call) for call in (*lost, last))
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    found = _unused(context, rule, lost[-1], "warning")
    message = (
        f"{shown} and {kept} are all given the same input, and only what "
        f"{kept} makes of it is used: the work of the others is thrown away."
    )
    fix = chained(lost[-1].source, last.source)
    found = replace(found, message=message, fixes=() if fix is None else (fix,))
    words = "give each layer what the one before it made"
    return explained(
        context.graph.rec,
        found,
        [("input", ref, None) for ref in last.inputs[:1]],
        "" if fix is not None else words,
    )


def _lost(context: CheckContext, rule: Check, store: Lost) -> Diagnosis:
    """`out = f(x)` above `out = g(x)`: what f has made is given up."""
    call, name = store.call, ast.unparse(store.later.targets[0])
    next_line = store.line.file.place(store.later)
    message = (
        f"nobody uses {name}, which {call.name} makes here: {next_line} gives the name "
        "another value, and the work is thrown away."
    )
    if isinstance(call, ModuleCall):
        found = replace(_unused(context, rule, call, "warning"), message=message)
        return explained(context.graph.rec, found, [("output", store.made, None)])
    return finding(
        context,
        rule,
        call,
        message,
        culprits=[culprit(context, call, "makes what is thrown away")],
        shapes=[("output", store.made, None)],
        way=(store.made.id, None),
        severity="warning",
    )


def _unused(
    context: CheckContext,
    rule: Check,
    call: ModuleCall,
    severity: Severity | None = None,
) -> Diagnosis:
    message = (
        f"no later call uses what {context.graph.spoken(call)} ({call.type}) returns."
    )
    found = Diagnosis(
        code=rule.code,
        severity=severity or rule.severity,
        message=message,
        where=f"module:{call.name}",
        module=call.name,
        source=call.source,
        culprits=(Culprit("module", call.name, source=call.source),),
        call=call.index,
    )
    shapes = [("output", ref, None) for ref in call.outputs or ()]
    return explained(context.graph.rec, found, shapes[:3])
