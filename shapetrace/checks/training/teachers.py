"""Frozen models whose dropout is on while others learn to give what they give."""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Iterator

from shapetrace.checks.facts.comparing import compares
from shapetrace.checks.facts.steps import frozen_in
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.fixes.statements import mode_set
from shapetrace.checks.training.modes import dropping
from shapetrace.records import Culprit, Diagnosis, FunctionCall, ModuleCall
from shapetrace.signatures import drops, gives, is_loss, kind
from shapetrace.source.called import module_path


@check(
    "teacher-drops",
    "warning",
    "a frozen model whose results others are to match is in training mode: its dropout "
    "makes every target a random one",
)
def teacher_drops(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    layers = [call for call in dropping(context) if drops(call)]
    if not layers:
        return
    weights = _Weights(context)
    told, asked = set[str](), set[int]()
    for call in layers:
        teacher = _teacher(context, call, weights)
        if teacher is None or teacher.name in told or teacher.index in asked:
            continue
        asked.add(teacher.index)
        judged = _judged(context, teacher, weights.made)
        if judged is None or _runs_again(context, teacher):
            continue
        told.add(teacher.name)
        if not _is_copy(context, teacher.name, weights.learning):
            yield _found(context, rule, call, teacher, judged)


class _Weights:
    """What of a trace learns: parameters, and what is made of them."""

    def __init__(self, context: CheckContext) -> None:
        graph, rec = context.graph, context.graph.rec
        frozen, learning, known = frozen_in(context), set[str](), set[str]()
        self.made: set[int] = set()
        for call in rec.functions:
            taught = False
            for place, ref in enumerate(call.inputs):
                origin = graph.origin(ref.id)
                if origin is None or origin.kind != "parameter":
                    leaf = origin is not None and origin.requires_grad
                    taught |= call.grad and (leaf or ref.id in self.made)
                    continue
                known.add(origin.name)
                learns = call.grad and origin.requires_grad and ref.id not in frozen
                written = not place and (call.name[-1:] == "_" or call.name == "data")
                if learns or written and call.parent is None:
                    learning.add(origin.name)
                taught |= learns
            if taught and kind(call.name) != "detach":
                self.made.update(ref.id for ref in call.outputs or ())
        #: of each module's name the parameters that learn, or are written to as an
        #: average of others is, and all that there are, its children's included
        self.learning, self.all = _by_module(learning), _by_module(known)


def _by_module(names: set[str]) -> Counter[str]:
    """How many of some parameters each module has, its children's included."""
    found = Counter[str]()
    for name in names:
        while name:
            name = name.rpartition(".")[0]
            found[name] += 1
    return found


def _teacher(
    context: CheckContext, call: FunctionCall, weights: _Weights
) -> ModuleCall | None:
    """The outermost module around a call of which no parameter learns."""
    found, module = None, context.graph.module_of(call)
    while module is not None and not weights.learning[module.name]:
        if weights.all[module.name]:
            found = module
        parent = module.parent
        module = None if parent is None else context.graph.rec.calls[parent]
    return found


def _judged(
    context: CheckContext, teacher: ModuleCall, learned: set[int]
) -> FunctionCall | None:
    """The comparison in which something that learns is to match what a module gave;
    None where it has another use as well, as features that are learned from."""
    found = None
    todo = [ref.id for ref in teacher.outputs or ()]
    if not learned.isdisjoint(todo):
        return None
    seen = set(todo)
    while todo:
        for user, made in context.follow(todo.pop()):
            if made.id in learned:
                if _matches(context, user, learned):
                    found = found or user
                elif made.shape:
                    return None
            elif made.id not in seen:
                seen.add(made.id)
                todo.append(made.id)
    return found


def _matches(context: CheckContext, user: FunctionCall, learned: set[int]) -> bool:
    """Whether a call holds what learns against what does not: a loss, a distance, an
    error, or probabilities that weigh logarithms."""
    if is_loss(user.name) or kind(user.name) == "distance":
        return True
    if kind(user.name) == "sum":
        return compares(context, user)
    logs = [
        gives(made.name) == "log_probabilities"
        for ref in user.inputs
        if ref.id in learned
        for made in context.sources_of_values(ref.id)
    ]
    return kind(user.name) == "scale" and bool(logs) and all(logs)


def _runs_again(context: CheckContext, teacher: ModuleCall) -> bool:
    """Whether a module is given the same once more before a step is over, to see how
    its answers differ."""
    ends = [call.order for call in context.by_name.get("backward", ())]
    own, step = [ref.id for ref in teacher.inputs], bisect(ends, teacher.order)
    return any(
        one.name == teacher.name
        and one.index != teacher.index
        and own == [ref.id for ref in one.inputs]
        and bisect(ends, one.order) == step
        for one in context.graph.rec.calls
    )


def _is_copy(context: CheckContext, name: str, learning: Counter[str]) -> bool:
    """Whether a module may be a copy of one that learns, and be an average of it in
    time: then its dropout may be on as it is in the other."""
    own = _form(context, name)
    return any(
        other != name and learning[other] and _form(context, other) == own
        for other, info in context.graph.rec.modules.items()
        if info.type == context.graph.rec.modules[name].type
    )


def _form(context: CheckContext, name: str) -> object:
    """What a module is made of, whatever it is called."""
    head = f"{name}." if name else ""
    return {
        other[len(head) :] if other != name else "": (
            info.type,
            str(sorted(info.attributes.items())),
            [(ref.path, ref.shape) for ref in info.parameters],
        )
        for other, info in context.graph.rec.modules.items()
        if other == name or other.startswith(head)
    }


def _found(
    context: CheckContext,
    rule: Check,
    call: FunctionCall,
    teacher: ModuleCall,
    judged: FunctionCall,
) -> Diagnosis:
    layer = context.graph.module_of(call)
    name = context.graph.spoken(teacher)
    inner = name if layer is None else context.graph.spoken(layer)
    path = module_path(context.graph.rec, teacher.name)
    return finding(
        context,
        rule,
        call,
        f"{inner} drops values although nothing of {name} ({teacher.type}) learns: "
        f"what {judged.name} at {judged.source} is to match is another one each time.",
        culprits=[
            Culprit(
                "module",
                teacher.name,
                source=teacher.source,
                reason="is in training mode",
            ),
            culprit(context, call, "drops values"),
        ],
        fixes=[mode_set(teacher, "eval") or f"call {path}.eval() after every train()"],
        shapes=[("input", call.inputs[0], None)],
        way=(call.inputs[0].id, None),
    )
