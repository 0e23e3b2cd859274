"""Layers and parameters in a plain list, and tensors, of which their module does not
know."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from shapetrace.checks.facts.steps import Steps
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import finding
from shapetrace.records import Culprit, Diagnosis, Fix, FunctionCall, ModuleCall
from shapetrace.signatures import kind, layers_of
from shapetrace.source.line import find, line_of
from shapetrace.source.scope import nodes
from shapetrace.source.tree import Tree, is_own, last_name, tree

#: methods that put something into a list
_ADDS = ("append", "extend", "insert")
_DISPLAYS = (ast.List, ast.Tuple, ast.ListComp, ast.GeneratorExp)
_MAPPINGS = (ast.Dict, ast.DictComp)


class Kept(NamedTuple):
    """A plain list or dictionary of layers that a module keeps as an attribute, and
    what one of them is called for."""

    attribute: str
    value: ast.expr
    tree: Tree
    made: str

    @property
    def kind(self) -> str:
        if isinstance(self.value, ast.Call):
            return "tensor"
        return "dictionary" if isinstance(self.value, _MAPPINGS) else "list"


@check(
    "layer-not-registered",
    "warning",
    "parameters() leaves out layers in a plain list, and a tensor that is no "
    "Parameter: no optimizer trains them, neither to() nor state_dict() knows them",
)
def layer_not_registered(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    told: set[tuple[str, str]] = set()
    ran = Steps(context)
    if ran.incomplete and not ran.steps:
        return  # an optimizer that was given them may have made its steps before
    held = {
        ref.id for step in ran.steps for call in ran.inside(step) for ref in call.inputs
    }
    for call, owner in _uses(context):
        weights = {ref.id for ref in call.inputs if _learns(context, ref.id)}
        if not weights or weights & held:
            continue
        kept = _kept(context, owner, call) or _as_tensor(context, owner, call)
        if kept is None or (owner.name, kept.attribute) in told:
            continue
        told.add((owner.name, kept.attribute))
        yield _hidden(context, rule, call, owner, kept)


def _uses(context: CheckContext) -> Iterator[tuple[FunctionCall, ModuleCall]]:
    """Calls with weights that are none of the module's around them, and the innermost
    module around that is one's own or a root's."""
    given = context.module_inputs
    calls = context.graph.rec.calls
    for call in context.functions:
        if call.parent is None or not call.grad:
            continue
        module: ModuleCall = calls[call.parent]
        outer = _entered_from(context, module)
        if outer is not None:
            yield call, outer
        elif any(
            _is_outside(context, ref.id) and ref.id not in given for ref in call.inputs
        ):
            yield call, module


def _entered_from(context: CheckContext, module: ModuleCall) -> ModuleCall | None:
    """The module in whose forward a root was called that no other one holds; None for a
    module that is where it belongs. A trace of given modules calls no others."""
    calls = context.graph.rec.calls
    if "" in context.graph.rec.modules or context.graph.rec.roots != ("",):
        return None
    root = module.name.partition(".")[0]
    while module.name != root:
        if module.parent is None:
            return None
        module = calls[module.parent]
    if module.parent is None:
        return None
    outer = calls[module.parent]
    alone = any(one.name == root and one.parent is None for one in calls)
    return None if alone or outer.name.partition(".")[0] == root else outer


def _is_outside(context: CheckContext, tensor: int) -> bool:
    """Whether a tensor is to learn and is no parameter."""
    origin = context.graph.origin(tensor)
    if origin is None:
        made = context.made_by(tensor)
        return made is not None and _is_leaf(made)
    return origin.kind == "outside" and origin.requires_grad


def _is_leaf(made: FunctionCall) -> bool:
    return not made.inputs and made.kwargs.get("requires_grad") is True


def _learns(context: CheckContext, tensor: int) -> bool:
    origin = context.graph.origin(tensor)
    if origin is None:
        return _is_outside(context, tensor)
    return origin.requires_grad


def _kept(context: CheckContext, owner: ModuleCall, call: FunctionCall) -> Kept | None:
    """The attribute in which a module's own constructor puts what was called."""
    wanted = _made_as(context, call)
    for found, home, own in _constructed(context, owner):
        for node, _ in nodes(home):
            kept = _list_of(node, own)
            items = set() if kept is None else _items(home, own, *kept) & wanted
            if kept is not None and items:
                return Kept(*kept, found, min(items))
    return None


def _constructed(
    context: CheckContext, owner: ModuleCall
) -> Iterator[tuple[Tree, ast.FunctionDef, str]]:
    """The constructors of one's own that made a module, with what they call it."""
    info = context.graph.rec.modules.get(owner.name)
    for init in info.inits if info is not None else ():
        found = tree(init.file) if is_own(init) else None
        home = found.defined_at(init.line) if found is not None else None
        if found is None or not isinstance(home, ast.FunctionDef) or not home.args.args:
            continue
        yield found, home, home.args.args[0].arg


def _as_tensor(
    context: CheckContext, owner: ModuleCall, call: FunctionCall
) -> Kept | None:
    """The attribute to which a constructor gives a tensor that is to learn, and no
    parameter, of those that the call's line reads."""
    line = find(call.source)
    if line is None or kind(call.name) == "detach":
        return None
    read = {n.attr for n in ast.walk(line.tree) if isinstance(n, ast.Attribute)}
    for found, home, own in _constructed(context, owner):
        for node, _ in nodes(home):
            kept = _list_of(node, own)
            if kept is not None and kept[0] in read and _is_to_learn(kept[1]):
                return Kept(*kept, found, "a tensor")
    return None


def _is_to_learn(value: ast.expr) -> bool:
    """Whether an expression asks for a tensor that requires a gradient."""
    if not isinstance(value, ast.Call) or last_name(value.func) == "Parameter":
        return False
    asked = isinstance(value.func, ast.Attribute) and value.func.attr
    told = [one.value for one in value.keywords if one.arg == "requires_grad"]
    return asked == "requires_grad_" or any(
        isinstance(one, ast.Constant) and one.value is True for one in told
    )


def _made_as(context: CheckContext, call: FunctionCall) -> set[str]:
    """What the constructor of the layer that made a call may be called: that of torch's
    layer, of a class around it with the forward at hand, a copy, or a parameter."""
    names = {"Parameter", "deepcopy", *layers_of(call.name)}
    if call.source is not None:
        names.add(call.source.function.rpartition(".")[0].rpartition(".")[2])
    module = context.graph.module_of(call)
    while module is not None:
        names.add(module.type)
        outer = module.parent
        module = None if outer is None else context.graph.rec.calls[outer]
    return names


def _list_of(node: ast.AST, own: str) -> tuple[str, ast.expr] | None:
    """The attribute of `self` that a statement gives a value that is no module."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target, value = node.targets[0], node.value
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        target, value = node.target, node.value
    else:
        return None
    if not isinstance(target, ast.Attribute) or not _is_name(target.value, own):
        return None
    return target.attr, value


def _items(
    home: ast.FunctionDef, own: str, attribute: str, value: ast.expr
) -> set[str]:
    """What is called for the items of a list or dictionary, there and after it."""
    if isinstance(value, ast.Name):
        given = [
            node.value
            for node, _ in nodes(home)
            if isinstance(node, ast.Assign) and _is_name(node.targets[0], value.id)
        ]
        if len(given) != 1 or isinstance(given[0], ast.Name):
            return set()
        return _items(home, own, attribute, given[0]) | _added(home, value)
    if not isinstance(value, (*_DISPLAYS, *_MAPPINGS)):
        return set()
    kept = ast.Attribute(ast.Name(own), attribute)
    return _constructors(value) | _added(home, kept)


def _constructors(value: ast.AST) -> set[str]:
    """The names of what is called for the items of a display."""
    found: list[ast.AST]
    if isinstance(value, ast.Call):
        return {last_name(value.func)}
    if isinstance(value, (ast.ListComp, ast.GeneratorExp)):
        found = [value.elt]
    elif isinstance(value, ast.DictComp):
        found = [value.value]
    elif isinstance(value, ast.Dict):
        found = list(value.values)
    elif isinstance(value, (ast.List, ast.Tuple)):
        found = list(value.elts)
    elif isinstance(value, ast.IfExp):
        found = [value.body, value.orelse]
    else:
        return set()
    return set().union(*map(_constructors, found))


def _added(home: ast.FunctionDef, kept: ast.expr) -> set[str]:
    """What is called for what is put into a list or dictionary later."""
    name = ast.unparse(kept)
    found = set[str]()
    for node, _ in nodes(home):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in _ADDS and ast.unparse(node.func.value) == name:
                found |= set().union(*map(_constructors, node.args))
        elif isinstance(node, ast.Assign):
            target = node.targets[0]
            if isinstance(target, ast.Subscript) and ast.unparse(target.value) == name:
                found |= _constructors(node.value)
        elif isinstance(node, ast.AugAssign) and ast.unparse(node.target) == name:
            found |= _constructors(node.value)
    return found


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _hidden(
    context: CheckContext,
    rule: Check,
    call: FunctionCall,
    owner: ModuleCall,
    kept: Kept,
) -> Diagnosis:
    place = kept.tree.place(kept.value)
    inside = context.graph.spoken(owner)
    reason = f"keeps {kept.made} in a plain {kept.kind}, self.{kept.attribute}"
    if kept.kind == "tensor":
        reason = f"keeps a plain tensor, self.{kept.attribute}"
    weight = next((r for r in call.inputs if _learns(context, r.id)), call.inputs[0])
    return finding(
        context,
        rule,
        call,
        f"{call.name} takes a weight of {weight.shape} that is none of {inside}'s "
        f"parameters: self.{kept.attribute} is a plain {kept.kind} at {place}, of "
        "which parameters() does not know.",
        culprits=[Culprit("module", owner.name, source=place, reason=reason)],
        fixes=[_registered(kept)],
        shapes=[("weight", weight, None)],
        way=(call.inputs[0].id, None),
    )


def _registered(kept: Kept) -> Fix:
    """The list in the container that registers what is in it; a tensor as parameter."""
    if kept.kind == "tensor":
        line = line_of(kept.tree, kept.value)
        new = line.spelled(f"nn.Parameter({line.text(kept.value)})")
        return Fix(line.around(new), where=line.source)
    one = "Parameter" if kept.made == "Parameter" else "Module"
    container = f"nn.{one}{'Dict' if kept.kind == 'dictionary' else 'List'}"
    line = line_of(kept.tree, kept.value)
    text = line.text(kept.value)
    if isinstance(kept.value, ast.GeneratorExp):
        text = text[1:-1]
    empty = text in ("[]", "{}")
    new = line.spelled(f"{container}({'' if empty else text})")
    return Fix(line.around(new), where=line.source)
