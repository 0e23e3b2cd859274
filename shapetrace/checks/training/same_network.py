"""A target network that is the network that learns: one module under two names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from os.path import commonprefix
from typing import NamedTuple

from shapetrace.checks.facts.steps import behind
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import explained, finding
from shapetrace.records import Culprit, Diagnosis, Fix, FunctionCall, ModuleCall, Source
from shapetrace.source.called import called_in
from shapetrace.source.line import Line, find, line_of
from shapetrace.source.tree import Tree, last_name

#: what a network is called that follows another, and gives what that is to match
_TARGETS = {"target", "targ", "teacher", "ema", "momentum", "delayed", "slow"}
#: and one that has been another
_FORMER = {"old", "previous", "prev", "frozen", "shadow", "averaged", "average", "avg"}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
#: backwards that are looked at: a training loop makes the same in each step
_FIRST = 8
#: tensors behind one that is written to a parameter: an average of two is made of six
_FEW = 16


class _Pair(NamedTuple):
    """The names of a network that is to follow another, and of that."""

    follower: str
    leader: str


@check(
    "target-is-learner",
    "warning",
    "the network that is to follow another is that one itself, under another name: it "
    "moves with every step, and what is copied into it is copied onto itself",
)
def target_is_learner(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    told = set[str]()
    for name, copy, pair in _copied(context):
        if name not in told:
            told.add(name)
            yield _onto_itself(context, rule, name, copy, pair)
    for call, pair, made in _called(context):
        if call.name not in told:
            told.add(call.name)
            yield _set_to(context, rule, call, pair, made)


# -- copied onto itself -------------------------------------------------------------


def _copied(context: CheckContext) -> Iterator[tuple[str, FunctionCall, _Pair]]:
    """Modules all of whose parameters are written onto themselves by a line that copies
    from one name to another: a copy of such, and both names."""
    lines: dict[Source | None, dict[str, FunctionCall]] = {}
    apart = set[Source | None]()
    for call in context.calls("copy", "lerp"):
        own = _written(context, call) if call.name[-1:] == "_" else None
        if own is not None:
            lines.setdefault(call.source, {}).setdefault(own, call)
        elif call.source in lines:
            apart.add(call.source)  # some of its layers alone are shared
    for source in lines.keys() - apart:
        copies = lines[source]
        name, pair = _around(list(copies)), _named(find(source))
        if pair is not None and _parameters(context, name) <= copies.keys():
            yield name, next(iter(copies.values())), pair


def _written(context: CheckContext, call: FunctionCall) -> str | None:
    """The parameter that a call writes to, where what it writes is made of it alone."""
    graph, names = context.graph, set[str]()
    for ref in call.inputs:
        behind_it = graph.behind(ref.id, lambda one: one.inputs)
        for count, (tensor, made) in enumerate(behind_it):
            if made is None or not made.inputs:
                origin = graph.origin(tensor)
                if origin is None or origin.kind != "parameter":
                    return None
                names.add(origin.name)
            if len(names) > 1 or count > _FEW:
                return None
    return names.pop() if len(call.inputs) > 1 and names else None


def _around(parameters: list[str]) -> str:
    """The module that all of some parameters belong to."""
    parts = [name.split(".")[:-1] for name in parameters]
    return ".".join(commonprefix(parts))


def _parameters(context: CheckContext, module: str) -> set[str]:
    """The names of the parameters of a module and of all in it."""
    head = f"{module}." if module else ""
    return {
        f"{name}.{ref.path}" if name else ref.path
        for name, info in context.graph.rec.modules.items()
        if name == module or name.startswith(head)
        for ref in info.parameters
    }


def _named(line: Line | None) -> _Pair | None:
    """The two networks of `a.load_state_dict(b.state_dict())`, or of a loop over
    `zip(a.parameters(), b.parameters())`; None where they are one by name too."""
    if line is None:
        return None
    given = [_asked(line.tree, "load_state_dict")]
    if isinstance(line.tree, ast.Call) and given[0] is not None:
        given += [_asked(one, "state_dict") for one in line.tree.args[:1]]
    else:
        loop = next(
            (a for a in line.file.around(line.node) if type(a) is ast.For), None
        )
        if loop is None or not isinstance(loop.iter, ast.Call):
            return None
        read = {one.id for one in ast.walk(line.tree) if isinstance(one, ast.Name)}
        taken = {one.id for one in ast.walk(loop.target) if isinstance(one, ast.Name)}
        if last_name(loop.iter.func) != "zip" or not taken <= read:
            return None
        given = [_asked(one, "parameters") for one in loop.iter.args]
    texts = [line.file.text(one) for one in given if one is not None]
    if len(texts) != 2 or len(given) != 2 or texts[0] == texts[1]:
        return None
    if any(_is_called(one, _TARGETS | _FORMER) for one in texts):
        return _Pair(*texts)
    return None


def _asked(node: ast.expr, method: str) -> ast.expr | None:
    """What a method is called of."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.value if node.func.attr == method else None
    return None


def _onto_itself(
    context: CheckContext, rule: Check, name: str, copy: FunctionCall, pair: _Pair
) -> Diagnosis:
    line = find(copy.source)
    made = None if line is None else _assignment(line, pair)
    reason = "is copied onto itself"
    said = context.graph.said(name) or "the network"
    return finding(
        context,
        rule,
        copy,
        f"`{pair.follower}` and `{pair.leader}` are one module, {said}: what is copied "
        "from one to the other here is copied onto itself.",
        culprits=[
            Culprit("module", name, source=copy.source, reason=reason),
            Culprit("function", "copy", source=copy.source, reason="changes nothing"),
        ],
        fixes=[
            None if made is None else _apart(made, pair),
            f"make `{pair.follower}` a module of its own, by copy.deepcopy, and never "
            f"set it to `{pair.leader}`",
        ],
        shapes=[("parameter", copy.inputs[0], None)],
    )


# -- called by two names ------------------------------------------------------------


def _called(context: CheckContext) -> Iterator[tuple[ModuleCall, _Pair, Line]]:
    """Calls of a module by the name of a follower, to give what another is to match,
    where it is also called by the name of the one that it was set to and learns."""
    rec, places = context.graph.rec, dict[str, dict[Source | None, ModuleCall]]()
    for call in rec.calls:
        if call.parent is not None and call.source == rec.calls[call.parent].source:
            continue  # inside of torch's own, whose line is that of the call around it
        places.setdefault(call.name, {}).setdefault(call.source, call)
    weighed = None
    for calls in places.values():
        if len(calls) < 2:
            continue
        spelled: dict[str, list[ModuleCall]] = {}
        for call in calls.values():
            said = called_in(rec, call)
            if said is not None:
                spelled.setdefault(said.code, []).append(call)
        followers = [one for one in spelled if _is_called(one, _TARGETS)]
        for code in followers:
            for other in spelled.keys() - {*followers}:
                pair, line = _Pair(code, other), find(spelled[code][0].source)
                made = None if line is None else _assignment(line, pair)
                if made is None:
                    continue
                weighed = weighed or _Weighed(context)
                if weighed.judges(spelled[code]) and weighed.teaches(spelled[other]):
                    yield spelled[code][0], pair, made


class _Weighed:
    """What the first backwards of a trace reach by gradients, and by values at all."""

    def __init__(self, context: CheckContext) -> None:
        self.taught, self.used = set[int](), set[int]()
        for total in context.calls("backward")[:_FIRST]:
            for ref in total.inputs[:1]:
                for call in behind(context, ref.id):
                    self.taught.update(one.id for one in call.outputs or ())
                self.used |= context.graph.ancestors(ref.id)

    def teaches(self, calls: list[ModuleCall]) -> bool:
        """Whether any gradient goes back to what some calls give."""
        return not _made(calls).isdisjoint(self.taught)

    def judges(self, calls: list[ModuleCall]) -> bool:
        """Whether what some calls give is used, and no gradient goes back to it."""
        return not _made(calls).isdisjoint(self.used) and not self.teaches(calls)


def _made(calls: list[ModuleCall]) -> set[int]:
    return {ref.id for call in calls for ref in call.outputs or ()}


def _is_called(name: str, words: set[str]) -> bool:
    """Whether the last part of a name has one of some words in it."""
    last = name.rpartition(".")[2]
    return any(word.lower() in words for word in _WORD.findall(last))


def _assignment(line: Line, pair: _Pair) -> Line | None:
    """The statement of the same class that sets a follower to its leader; None where a
    condition decides: a program may do without a second network."""
    names, tree = tuple(one.rpartition(".")[2] for one in pair), line.file
    home, found = _class(tree, line.node), list[ast.expr]()
    for node in tree.statements:
        if not isinstance(node, ast.Assign) or _class(tree, node) is not home:
            continue
        if [last_name(one) for one in node.targets] != [names[0]]:
            continue
        if last_name(node.value) == names[1]:
            if any(_decides(one) for one in tree.around(node)):
                return None
            found.append(node.value)
    return line_of(tree, found[0]) if found else None


def _class(tree: Tree, node: ast.AST) -> ast.AST | None:
    return next((one for one in tree.around(node) if type(one) is ast.ClassDef), None)


def _decides(node: ast.AST) -> bool:
    """Whether a statement asks for a setting, not for the number of a step."""
    if not isinstance(node, ast.If):
        return False
    return not any(isinstance(one, ast.Mod) for one in ast.walk(node.test))


def _apart(made: Line, pair: _Pair) -> Fix:
    """The statement that set the follower, with a copy; where it is no construction,
    with the values alone."""
    leader, statement = made.text(made.tree), made.file.statement(made.node)
    home = made.file.home(made.node)
    built = isinstance(home, ast.Module) or getattr(home, "name", "") == "__init__"
    if built or not isinstance(statement, ast.Assign):
        note = "needs `import copy`"
        return Fix(
            made.around(f"copy.deepcopy({leader})"), "untried", note, made.source
        )
    follower = made.file.text(statement.targets[0])
    return Fix(f"{follower}.load_state_dict({leader}.state_dict())", where=made.source)


def _set_to(
    context: CheckContext, rule: Check, call: ModuleCall, pair: _Pair, made: Line
) -> Diagnosis:
    name = call.name
    reason = f"is `{pair.follower}` and `{pair.leader}`"
    found = Diagnosis(
        code=rule.code,
        severity=rule.severity,
        message=f"`{pair.follower}` is `{pair.leader}` itself, as {made.source} sets "
        "it: what it gives is not of a network that follows, but of the one that "
        "learns.",
        where=f"module:{name}",
        module=name,
        source=call.source,
        culprits=(Culprit("module", name, source=made.source, reason=reason),),
        fixes=(_apart(made, pair),),
        call=call.index,
    )
    return explained(context.graph.rec, found, [])
