"""What the user's script calls a module: `model.classifier[1]`, `agent.actor`."""

from __future__ import annotations

import ast
import builtins
import sys

import torch

from shapetrace.records import ModuleCall, ModuleInfo, Recording
from shapetrace.source.frames import expression_of
from shapetrace.source.names import imported
from shapetrace.source.scope import Expression, bound, from_only_call
from shapetrace.source.tree import is_own_file

_FORWARD = ("forward", "__call__")


def root_of(rec: Recording, name: str) -> str:
    """The root that a module belongs to, or is: of all that it stands within the
    outermost. A trace of no module in particular names each root by its class."""
    while name:
        owner = name.rpartition(".")[0]
        while owner and owner not in rec.modules:
            owner = owner.rpartition(".")[0]
        if owner not in rec.modules:
            break
        name = owner
    return name


def root_name(rec: Recording, root: str = "") -> str | None:
    """The expression by which the script calls a root: `model`, `self.net`; None where
    no line shows it."""
    found = root_expression(rec, root)
    return found.code if found is not None else None


def root_expression(rec: Recording, root: str) -> Expression | None:
    """What stands for a root where it is called. Where a helper calls it by its
    parameter, it is what the helper's only caller gives."""
    seen = set()
    for call in rec.calls:
        if call.name != root or call.parent is not None or call.source in seen:
            continue
        seen.add(call.source)
        called = called_in(rec, call)
        if called is not None:
            return called
    return None


def called_in(rec: Recording, call: ModuleCall) -> Expression | None:
    """What stands for a module in the line that calls it; None where something else
    does so, `checkpoint(model, x)` or `loss.backward()`."""
    called = _callee(rec, call)
    while called is not None and isinstance(called.node, ast.Name):
        holder = called.scope.holder(called.node.id)
        given = from_only_call(holder, called.node.id) if holder else None
        if given is None or not isinstance(given.node, ast.Name | ast.Attribute):
            break
        called = given
    return None if called is None or _is_function(called) else called


def calls_itself(rec: Recording, call: ModuleCall) -> bool:
    """Whether the line's own call is that of the module, as far as the line tells: not
    a library's function that calls it in turn, `shapetrace.summary(model, …)`."""
    made = expression_of(rec, call)
    if made is None or not isinstance(made.node, ast.Call):
        return True
    home = (_home(made.at(made.node.func)) or "").partition(".")[0]
    file = getattr(sys.modules.get(home), "__file__", None)
    return home not in ("shapetrace", "torch") and (not file or is_own_file(file))


def unnamed(rec: Recording, root: str) -> list[Expression]:
    """What calls of a root call that no name of the script's stands for, `Net(12)` of
    `Net(12)(x)`."""
    found = {}
    for call in rec.calls:
        if call.name == root and call.parent is None and call.source not in found:
            found[call.source] = _callee(rec, call)
    return [
        each
        for each in found.values()
        if each is not None and _first_name(each.node) is None
    ]


def _callee(rec: Recording, call: ModuleCall) -> Expression | None:
    """The expression that a recorded call of a module calls."""
    made = expression_of(rec, call)
    if made is None or not isinstance(made.node, ast.Call):
        return None
    called = made.at(made.node.func)
    if (_home(called) or "").partition(".")[0] == "shapetrace":
        # `shapetrace.summary(model, ...)` calls it for the user
        models = [*made.node.args, *(pair.value for pair in made.node.keywords)]
        called = made.at(models[0]) if models else called
    if isinstance(called.node, ast.Attribute) and called.node.attr in _FORWARD:
        called = called.at(called.node.value)
    return called


def _is_function(called: Expression) -> bool:
    """Whether it is no module for certain: a function of torch's or Python's own, whose
    frames are none of the user's, or the result of a call."""
    node = called.node
    if isinstance(node, ast.Attribute) and node.attr == "backward":
        return True
    name = _first_name(node)
    if name is None:
        return True
    whole = _home(called)
    if whole is None:
        return hasattr(builtins, name.id) and called.scope.holder(name.id) is None
    home = whole.partition(".")[0]
    return home == "torch" or home in sys.stdlib_module_names


def _home(called: Expression) -> str | None:
    """What the first name of an expression is imported as."""
    name = _first_name(called.node)
    return imported(called.scope.tree.file).get(name.id) if name is not None else None


def _first_name(node: ast.expr) -> ast.Name | None:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node if isinstance(node, ast.Name) else None


def is_parameter(made: Expression) -> bool:
    """Whether a name is what some function around it was given."""
    name = made.node.id if isinstance(made.node, ast.Name) else ""
    holder = made.scope.holder(name)
    return holder is not None and not bound(holder, name)


def module_path(rec: Recording, name: str) -> str:
    """`model.classifier[1]`, with the user's own name of the model if seen."""
    root = root_of(rec, name)
    text = root_name(rec, root) or "model"
    inner = name[len(root) + 1 :] if root else name
    above = root
    for part in inner.split(".") if inner else ():
        info = rec.modules.get(above)
        if part.isdigit() and not _by_key(info):
            text += f"[{part}]"
        elif part.isidentifier():
            text += f".{part}"
        else:  # named by add_module() or a key: no attribute that can be written out
            text += f'["{part}"]' if _by_key(info) else f'._modules["{part}"]'
        above = f"{above}.{part}" if above else part
    return text


def _by_key(info: ModuleInfo | None) -> bool:
    """Whether a module is an nn.ModuleDict: its entries have names, not numbers."""
    home, _, name = info.qualname.rpartition(".") if info is not None else ("", "", "")
    kind = getattr(sys.modules.get(home), name, None)
    return isinstance(kind, type) and issubclass(kind, torch.nn.ModuleDict)
