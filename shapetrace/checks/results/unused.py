"""Modules whose results nobody uses."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.fixes.statements import chained
from shapetrace.checks.results.discarded import is_missed
from shapetrace.checks.results.layers import overwritten, unwatched
from shapetrace.checks.results.stores import Lost, lost_values
from shapetrace.records import Culprit, Diagnosis, FunctionCall, ModuleCall


@check(
    "unused-output",
    "note",
    "nothing uses what a module has computed: a dead branch, or a forgotten return",
)
def unused_output(context: CheckContext) -> Iterator[Diagnosis]:
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
        yield _overwritten(context, lost, last)
    for store in lost_values(context):
        unused.discard(store.call.index if isinstance(store.call, ModuleCall) else -1)
        yield _lost(context, store)
    seen: set[str] = set()
    for index in sorted(unused):
        call = rec.calls[index]
        if call.parent not in unused and call.name not in seen:
            seen.add(call.name)
            yield _unused(context, call)


def _overwritten(
    context: CheckContext, lost: list[ModuleCall], last: ModuleCall
) -> Diagnosis:
    """`for layer in layers: out = layer(x)`: each layer is given the first input."""
    *names, kept = (context.graph.spoken(call) for call in (*lost, last))
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return finding(
        context,
        lost[-1],
        f"{shown} and {kept} are all given the same input, and only what {kept} makes "
        "of it is used: the work of the others is thrown away.",
        culprits=[Culprit("module", lost[-1].name, source=lost[-1].source)],
        fixes=[
            chained(lost[-1].source, last.source)
            or "give each layer what the one before it made"
        ],
        shapes=[("input", ref, None) for ref in last.inputs[:1]],
        severity="warning",
    )


def _lost(context: CheckContext, store: Lost) -> Diagnosis:
    """`out = f(x)` above `out = g(x)`: what f has made is given up."""
    call, name = store.call, ast.unparse(store.later.targets[0])
    next_line = store.line.file.place(store.later)
    who, way = Culprit("module", call.name, source=call.source), None
    if isinstance(call, FunctionCall):
        who = culprit(context, call, "makes what is thrown away")
        way = (store.made.id, None)
    return finding(
        context,
        call,
        f"nobody uses {name}, which {call.name} makes here: {next_line} gives the name "
        "another value, and the work is thrown away.",
        culprits=[who],
        shapes=[("output", store.made, None)],
        way=way,
        severity="warning",
    )


def _unused(context: CheckContext, call: ModuleCall) -> Diagnosis:
    name = context.graph.spoken(call)
    return finding(
        context,
        call,
        f"no later call uses what {name} ({call.type}) returns.",
        culprits=[Culprit("module", call.name, source=call.source)],
        shapes=[("output", ref, None) for ref in (call.outputs or ())[:3]],
        severity="warning" if is_missed(context, call) else None,
    )
