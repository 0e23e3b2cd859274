"""Copies of networks that follow those in training, and one that does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from shapetrace.checks.facts.steps import Steps
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import explained
from shapetrace.lineage.learned import writes_in_place
from shapetrace.records import Culprit, Diagnosis, ModuleInfo


class Copy(NamedTuple):
    """A network and its copy, which is called as the network is and a word besides:
    `critic` and `target_critic`."""

    network: str
    copy: str


@check(
    "copy-left-behind",
    "warning",
    "of the copies of networks that follow them in training one is never written to: "
    "what it gives is what the network gave at the start",
)
def copy_left_behind(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    ran = Steps(context)
    if not ran.steps or not ran.trained or context.graph.rec.left_out is not None:
        return
    called = {call.name for call in context.graph.rec.calls}
    written = _written(context)
    for pairs in _copies(context).values():
        trained = [pair for pair in pairs if _any(pair.network, ran.trained)]
        follow = [pair for pair in trained if _any(pair.copy, written)]
        for pair in trained:
            if follow and pair not in follow and pair.copy in called:
                yield _found(context, rule, pair, follow[0])


def _any(module: str, parameters: set[str]) -> bool:
    return any(name.startswith(f"{module}.") for name in parameters)


def _written(context: CheckContext) -> set[str]:
    """The parameters that anything is written to, by their `data` as well."""
    graph, found = context.graph, set[str]()
    for call in graph.rec.functions:
        for ref in call.inputs if writes_in_place(call) else ():
            tensor = context.undressed(ref.id)
            # of `torch._foreach_lerp_` the whole of the first list
            if ref.path.startswith("args[0]") and graph.is_parameter(tensor):
                found.add(graph.rec.origins[tensor].name)
    return found


def _copies(context: CheckContext) -> dict[tuple[str, str], list[Copy]]:
    """The networks beside each other of which one is the other's copy by name, class
    and sizes; those whose names differ in the same way together."""
    modules = context.graph.rec.modules
    found: dict[tuple[str, str], list[Copy]] = {}
    for copy, info in modules.items():
        holder, dot, word = copy.rpartition(".")
        parts = word.split("_")
        for at in range(1, len(parts)):
            head, tail = "_".join(parts[:at]), "_".join(parts[at:])
            for own, pattern in ((tail, f"{head}_…"), (head, f"…_{tail}")):
                network = f"{holder}{dot}{own}"
                theirs = modules.get(network)
                if own and theirs is not None and theirs.type == info.type:
                    if _sizes(modules, network) == _sizes(modules, copy):
                        pair = Copy(network, copy)
                        found.setdefault((holder, pattern), []).append(pair)
    return {key: pairs for key, pairs in found.items() if len(pairs) > 1}


def _sizes(modules: dict[str, ModuleInfo], name: str) -> list[tuple[int, ...]]:
    return [
        ref.shape
        for one, info in modules.items()
        if f"{one}.".startswith(f"{name}.")
        for ref in info.parameters
    ]


def _found(context: CheckContext, rule: Check, left: Copy, other: Copy) -> Diagnosis:
    said = context.graph.said
    calls = [call for call in context.graph.rec.calls if call.name == left.copy]
    last = calls[-1]
    found = Diagnosis(
        code=rule.code,
        severity=rule.severity,
        message=f"{said(other.copy)} is brought nearer to {said(other.network)} in the "
        f"block, and nothing is ever written to {said(left.copy)}, while "
        f"{said(left.network)} is trained.",
        where=f"module:{left.copy}",
        module=left.copy,
        source=last.source,
        culprits=(
            Culprit("module", left.copy, source=last.source, reason="is never updated"),
        ),
        call=last.index,
    )
    words = f"update {said(left.copy)} where {said(other.copy)} is updated"
    shapes = [("output", ref, None) for ref in (last.outputs or ())[:1]]
    return explained(context.graph.rec, found, shapes, words)
