"""Parameters and layers that a forward makes anew each time it runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from shapetrace.checks.facts.steps import Steps, behind
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import finding
from shapetrace.records import (
    Culprit,
    Diagnosis,
    FunctionCall,
    ModuleCall,
    Origin,
    TensorRef,
)
from shapetrace.signatures import kind, layers_of
from shapetrace.source.scope import nodes
from shapetrace.source.tree import Home, Tree, function_at, is_own, last_name

#: backwards that are looked at
_FIRST = 8
#: what stands around code that does not run each time
_GUARDS = (ast.If, ast.IfExp, ast.Try, ast.Match, ast.While, ast.BoolOp)
#: what weights begin with; of numbers that stand in the code a kernel is made
_BEGINS = ("randn", "rand", "ones", "empty", "Tensor", "FloatTensor")
_SIZES = ("shape", "size", "len")
#: what a gradient is asked for, and who gives weights another content
_ASKS = ("grad", "backward", "step", "parameters", "load_state_dict", "copy_")
_MAKES = "Parameter"
_MOVES = ("to", "cuda")


class Made(NamedTuple):
    """What a function of the user's makes each time, where, and what it is kept as."""

    tree: Tree
    node: ast.Call
    home: ast.FunctionDef
    owner: ModuleCall

    @property
    def whole(self) -> ast.expr:
        """The expression with what moves it to a device."""
        node: ast.expr = self.node
        while isinstance(method := self.tree.parents.get(node), ast.Attribute):
            call = self.tree.parents.get(method)
            if method.attr not in _MOVES or not isinstance(call, ast.Call):
                break
            node = call
        return node

    @property
    def kept(self) -> ast.expr | None:
        """What it is assigned to, moved to a device or not."""
        statement = self.tree.parents.get(self.whole)
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            return statement.targets[0]
        return None


@check(
    "parameter-made-anew",
    "warning",
    "a forward that makes a parameter anew each time throws away what it has learned: "
    "the optimizer holds another one, or none, and it is never trained",
)
def parameter_made_anew(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    for call, ref, made in made_anew(context):
        yield _renewed(context, rule, call, ref, made)


def made_anew(
    context: CheckContext,
) -> Iterator[tuple[FunctionCall, TensorRef, Made]]:
    """The weights that are made anew, each with the first call that takes one."""
    places: dict[tuple[str, int] | None, list[tuple[Tree, ast.FunctionDef]]] = {}
    found = []
    for call in _inside(context):
        source = call.source
        place = None if source is None else (source.file, source.line)
        if place not in places:
            places[place] = _makers(call)
        found += [(call, home) for home in places[place]]
    learned = _learned(context) if found else set()
    told: set[ast.Call] = set()
    for call, home in found:
        for ref in call.inputs:
            made = _made(context, call, home, ref) if ref.id in learned else None
            if made is not None and made.node not in told:
                told.add(made.node)
                yield call, ref, made


def _inside(context: CheckContext) -> Iterator[FunctionCall]:
    """The calls within a forward that may take weights."""
    for name in context.by_name:
        for call in context.calls(name):
            if call.grad and call.parent is not None and is_own(call.source):
                yield call


def _makers(call: FunctionCall) -> list[tuple[Tree, ast.FunctionDef]]:
    """The method at a call, and those of its class that it calls for what they do."""
    tree, home = function_at(call.source) or (None, None)
    if tree is None or not isinstance(home, ast.FunctionDef):
        return []
    around = tree.parents.get(home)
    if not isinstance(around, ast.ClassDef):
        return []
    called = {
        node.value.func.attr
        for node, _ in nodes(home)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Attribute)
        and not _is_guarded(tree, node, home)
    }
    helpers = [
        one
        for one in around.body
        if isinstance(one, ast.FunctionDef) and one.name in called
    ]
    return [(tree, one) for one in (home, *helpers) if _has_maker(one)]


def _has_maker(home: ast.FunctionDef) -> bool:
    """Whether a method makes parameters, or what may be a layer."""
    names = (last_name(n.func) for n, _ in nodes(home) if isinstance(n, ast.Call))
    return any(name[:1].isupper() for name in names)


def _learned(context: CheckContext) -> set[int]:
    """What goes into a loss, and into no step and no gradient that is asked for."""
    ran = Steps(context)
    totals = [call.inputs[0].id for call in ran.backwards[:_FIRST]] or [
        ref.id for loss in context.losses[:_FIRST] for ref in loss.outputs or ()
    ]
    reached = {
        ref.id
        for total in totals
        for call in behind(context, total)
        for ref in call.inputs
    }
    taken = {ref.id for call in context.calls("grad") for ref in call.inputs}
    for step in ran.steps:
        taken |= {ref.id for call in ran.inside(step) for ref in call.inputs}
    return reached - taken


def _made(
    context: CheckContext,
    call: FunctionCall,
    where: tuple[Tree, ast.FunctionDef],
    ref: TensorRef,
) -> Made | None:
    """The expression in a method that makes a weight which a call in it takes."""
    tree, home = where
    owner = _owner(context, call, tree, home)
    if owner is None or _asks(home):
        return None
    layers = layers_of(call.name) if kind(call.name) != "norm" else frozenset()
    if ref is call.inputs[0]:
        layers = frozenset()
    origin = context.graph.origin(ref.id)
    for node, _ in nodes(home):
        if not isinstance(node, ast.Call) or _is_guarded(tree, node, home):
            continue
        made = Made(tree, node, home, owner)
        if last_name(node.func) == _MAKES:
            if origin is not None and _takes(context, made, call, origin):
                if _is_weight(context, made):
                    return made
        elif last_name(node.func) in layers and _is_called(made, call):
            return made
    return None


def _owner(
    context: CheckContext, call: FunctionCall, tree: Tree, home: ast.FunctionDef
) -> ModuleCall | None:
    """The module in whose forward a method runs."""
    around = tree.parents.get(home)
    module = context.graph.module_of(call)
    while module is not None:
        if isinstance(around, ast.ClassDef) and module.type == around.name:
            return module
        module = (
            None if module.parent is None else context.graph.rec.calls[module.parent]
        )
    return None


def _is_guarded(tree: Tree, node: ast.AST, home: ast.FunctionDef) -> bool:
    """Whether an expression need not be evaluated each time: it stands in a branch, or
    behind one that returns."""
    for outer in tree.around(node):
        if outer is home:
            break
        if isinstance(outer, (*_GUARDS, ast.Lambda)):
            return True
    line = getattr(node, "lineno", 0)
    return any(
        isinstance(one, ast.Return)
        and one.lineno < line
        and any(isinstance(outer, _GUARDS) for outer in tree.around(one))
        for one, _ in nodes(home)
    )


def _asks(home: Home) -> bool:
    """Whether a method trains something itself, or wants a gradient."""
    return any(
        isinstance(node, ast.Attribute) and node.attr in _ASKS
        for node, _ in nodes(home)
    )


def _is_weight(context: CheckContext, made: Made) -> bool:
    """Whether a parameter is made of one that there is, or begins as weights do, and is
    to learn."""
    if any(word.arg == "requires_grad" for word in made.node.keywords):
        return False
    if len(made.node.args) != 1:
        return False
    value = _meaning(made, made.node.args[0])
    parts = list(ast.walk(value))
    names = [node for node in parts if isinstance(node, ast.Name)]
    behind = [one for name in names for one in ast.walk(_meaning(made, name))]
    if any(_is_own_weight(context, made, node) for node in [*parts, *behind]):
        return True
    begins = isinstance(value, ast.Call) and last_name(value.func) in _BEGINS
    return begins and not any(
        isinstance(node, (ast.Attribute, ast.Name))
        and last_name(node) in _SIZES
        or isinstance(node, (ast.List, ast.ListComp))
        for node in parts
    )


def _meaning(made: Made, value: ast.expr) -> ast.expr:
    """What a name of the method was given last before it is read."""
    if not isinstance(value, ast.Name):
        return value
    given = [
        node.value
        for node, _ in nodes(made.home)
        if isinstance(node, ast.Assign)
        and node.lineno < value.lineno
        and any(isinstance(t, ast.Name) and t.id == value.id for t in node.targets)
    ]
    return given[-1] if given else value


def _is_own_weight(context: CheckContext, made: Made, node: ast.AST) -> bool:
    """Whether an expression reads a parameter of the module, `self.fc.weight`, or calls
    a module that holds some."""
    if not isinstance(node, ast.Attribute):
        return False
    _, _, path = ast.unparse(node).partition(".")
    name, _, own = path.rpartition(".")
    full = ".".join(part for part in (made.owner.name, name) if part)
    modules = context.graph.rec.modules
    info = modules.get(full)
    if info is not None and own in {ref.path for ref in info.parameters}:
        return True
    # `self.generator()`, of whose weights it is computed
    called = made.tree.parents.get(node)
    if not isinstance(called, ast.Call) or called.func is not node:
        return False
    child = f"{full}.{own}" if full else own
    return child in modules and any(
        one.parameters and f"{name}.".startswith(f"{child}.")
        for name, one in modules.items()
    )


def _takes(
    context: CheckContext, made: Made, call: FunctionCall, origin: Origin
) -> bool:
    """Whether a call takes what was made: a leaf that nobody holds at the end, or the
    one that is kept under the name that was given to it."""
    if not origin.requires_grad:
        return False
    target = made.kept
    path = ""
    if isinstance(target, ast.Attribute):
        _, _, path = ast.unparse(target).partition(".")
        path = ".".join(part for part in (made.owner.name, path) if part)
    if origin.kind == "parameter":
        return bool(path) and origin.name == path
    if origin.kind != "outside" or not origin.gone:
        return False
    layer = context.graph.module_of(call)
    inner, _, own = path.rpartition(".")
    if path and layer is not None and layer.index != made.owner.index:
        info = context.graph.rec.modules.get(inner)
        return layer.name == inner and info is not None and bool(own)
    return True


def _is_called(made: Made, call: FunctionCall) -> bool:
    """Whether the layer that was made is what the line of a call runs, as it was."""
    outer = made.tree.parents.get(made.whole)
    source = call.source
    if isinstance(outer, ast.Call) and outer.func is made.whole:
        return source is not None and outer.lineno == source.line
    kept = made.kept
    if kept is None or source is None:
        return False
    name = ast.unparse(kept)
    runs = False
    for node, _ in nodes(made.home):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == name:
            if node.attr not in _MOVES:
                return False  # its weights are given to it
        if isinstance(node, ast.Call) and ast.unparse(node.func) == name:
            runs = runs or node.lineno == source.line
    return runs


def _renewed(
    context: CheckContext, rule: Check, call: FunctionCall, ref: TensorRef, made: Made
) -> Diagnosis:
    place = made.tree.place(made.node)
    name = last_name(made.node.func)
    kept = made.kept
    reason = f"makes {name} anew each time"
    who = [Culprit("module", made.owner.name, source=place, reason=reason)]
    layer = context.graph.module_of(call)
    if layer is not None and layer.index != made.owner.index:
        if layer.name in context.graph.rec.modules:
            who.insert(0, Culprit("module", layer.name, source=call.source))
    shown = f"as {ast.unparse(kept)} " if isinstance(kept, ast.Attribute) else ""
    return finding(
        context,
        rule,
        call,
        f"{made.home.name} of {context.graph.spoken(made.owner)} makes a new {name} "
        f"{shown}at {place} each time it runs: {call.name} takes {ref.shape} that no "
        "optimizer holds, and the next call throws it away. It is made once, in "
        "__init__, and what is computed from it stays no parameter.",
        culprits=who,
        shapes=[("weight", ref, None)],
        way=(call.inputs[0].id, None),
    )
