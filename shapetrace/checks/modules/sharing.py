"""One layer that stands several times in a list, where several were meant."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import explained
from shapetrace.records import Culprit, Diagnosis, Fix, ModuleCall
from shapetrace.source.line import Line, line_of
from shapetrace.source.scope import Expression, nodes
from shapetrace.source.tree import is_own


@check(
    "shared-layers",
    "warning",
    "`[nn.Linear(4, 4)] * 3` is a list of one layer, three times: all of them share "
    "their weights",
)
def shared_layers(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    rec = context.graph.rec
    times: Counter[tuple[str, int | None]] = Counter()
    last: dict[str, ModuleCall] = {}
    for call in rec.calls:
        if call.name.rpartition(".")[2].isdigit():
            times[call.name, call.parent] += 1
            last[call.name] = call
    again = {name for (name, _), count in times.items() if count > 1}
    told = set[int]()
    for name in sorted(again):
        if not _learns(context, name):
            continue
        for made in context.graph.constructions.candidates(name):
            line = _multiplied(made)
            if line is None or id(line.node) in told:
                continue
            told.add(id(line.node))
            yield _shared(context, rule, last[name], line)


def _learns(context: CheckContext, name: str) -> bool:
    """Whether a module has weights, itself or in what it is made of."""
    return any(
        info.parameters and f"{one}.".startswith(f"{name}.")
        for one, info in context.graph.rec.modules.items()
    )


def _multiplied(made: Expression) -> Line | None:
    """The list that is written several times by `*`, with the call that builds a layer
    in it; a layer that has a name there is known to be the same."""
    if not isinstance(made.node, ast.Call) or not is_own(made.source):
        return None
    for node, _ in nodes(made.scope.home):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            if isinstance(node.left, ast.List) and made.node in node.left.elts:
                return line_of(made.scope.tree, node)
    return None


def _shared(
    context: CheckContext, rule: Check, call: ModuleCall, line: Line
) -> Diagnosis:
    said = context.graph.said(call.name)
    reason = "stands several times in the list"
    found = Diagnosis(
        code=rule.code,
        severity=rule.severity,
        message=f"`{line.code}` at {line.source} is one layer several times: "
        f"{said} is called in the place of each of them.",
        where=f"module:{call.name}",
        module=call.name,
        source=call.source,
        culprits=(Culprit("module", call.name, source=line.source, reason=reason),),
        fixes=(_each_for_itself(line),),
        call=call.index,
    )
    return explained(context.graph.rec, found, [])


def _each_for_itself(line: Line) -> Fix:
    """The list with layers of their own."""
    assert isinstance(line.tree, ast.BinOp) and isinstance(line.tree.left, ast.List)
    items, count = line.tree.left.elts, line.text(line.tree.right)
    if len(items) == 1:
        new = f"[{line.text(items[0])} for _ in range({count})]"
    else:
        shown = ", ".join(map(line.text, items))
        new = f"[layer for _ in range({count}) for layer in ({shown})]"
    return Fix(line.around(new), where=line.source)
