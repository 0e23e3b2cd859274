"""Tensors that are changed in place, and read as if they were as before."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from shapetrace.checks.facts.arguments import argument
from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.fixes.lines import renamed, told, with_argument
from shapetrace.checks.results.signs import is_never_negative
from shapetrace.records import Diagnosis, Fix, FunctionCall, ModuleCall, TensorRef
from shapetrace.signatures import is_method, kind
from shapetrace.source.dead_names import given_up
from shapetrace.source.line import Line, find
from shapetrace.source.names_held import held

#: what changes each number for itself; no writing to places, which fills a buffer
_CHANGES = ("activation", "sigmoid", "dropout", "sum", "scale", "power", "mask")
#: activations that leave what is not negative as it is
_KEEP = ("relu", "relu6", "leaky_relu", "elu", "celu", "prelu", "rrelu")


class Place(NamedTuple):
    """Where in the code a tensor is changed: the expression that does it, the one that
    stands for the tensor, and the module in whose forward that is."""

    line: Line
    node: ast.expr
    frame: int | None
    #: whether the expression itself says that it works in place
    said: bool


@check(
    "changed-in-place",
    "warning",
    "a function that works in place changes a tensor that is read afterwards by a name "
    "that it had before: what was to be kept is lost",
)
def changed_in_place(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    for call in context.of_kind(*_CHANGES):
        if not _is_in_place(call) or not _changes(context, call):
            continue
        for place in _places(context, call):
            read = next(_reads(context, call, place), None)
            if read is not None:
                yield _wrong(context, rule, call, place, *read)
                break


def _is_in_place(call: FunctionCall) -> bool:
    if not call.inputs or not call.outputs or not call.grad:
        return False
    return call.name.endswith("_") or call.kwargs.get("inplace") is True


def _changes(context: CheckContext, call: FunctionCall) -> bool:
    """Whether numbers of a tensor of the model's, or of its data, become others."""
    given, name = call.inputs[0], plain(call.name)
    if _is_filled(context, given):
        return False
    if kind(name) == "dropout":
        return bool(argument(call, "p", 1)) and argument(call, "training", 2) is True
    if name in _KEEP:
        return not context.is_raw_data(given.id) and not is_never_negative(
            context, given.id
        )
    return True


def _is_filled(context: CheckContext, ref: TensorRef) -> bool:
    """Whether a tensor was made to be filled, with sums for example."""
    made = context.made_by(ref.id)
    while made is not None and _is_in_place(made):
        made = context.made_by(made.inputs[0].id)
    return made is not None and kind(made.name) == "fill"


def _places(context: CheckContext, call: FunctionCall) -> Iterator[Place]:
    """Where the code hands a tensor to what changes it: the call's own line, or that of
    the layer; and of each module whose input it is."""
    given, modules = call.inputs[0].id, context.graph.rec.calls
    frame = call.parent
    if call.direct:
        line = find(call.source)
        node = None if line is None else _first(line, is_method(call))
        if line is not None and node is not None:
            said = "inplace" not in call.kwargs
            yield Place(line, node, frame, said)
    while frame is not None:
        module = _called(context, modules[frame])
        paths = [ref.path for ref in module.inputs if ref.id == given]
        line = find(module.source)
        if not paths or line is None:
            return
        node = line.argument(paths[0])
        if node is not None and isinstance(line.tree, ast.Call):
            yield Place(line, node, module.parent, False)
        frame = module.parent


def _called(context: CheckContext, call: ModuleCall) -> ModuleCall:
    """The module that the line calls by which a module was called, in it perhaps."""
    modules = context.graph.rec.calls
    while call.parent is not None and modules[call.parent].source == call.source:
        call = modules[call.parent]
    return call


def _first(line: Line, method: bool) -> ast.expr | None:
    """The expression of a call's first tensor."""
    if isinstance(line.node, ast.AugAssign):
        return line.node.target
    return line.argument("args[0]", method)


def _reads(
    context: CheckContext, call: FunctionCall, place: Place
) -> Iterator[tuple[FunctionCall | ModuleCall, ast.Name]]:
    """The calls of the same code that take the tensor after it was changed, each with
    the name by which they do, where it had that name before. One that alone is read by
    another name is a buffer, which was to be changed."""
    made = (call.outputs or ())[0].id
    meant = place.said or _is_alone(place)
    users = [*_users(context, made, place.frame)]
    uses = sum(ref.id == made for user in users for ref in user.inputs)
    known: list[tuple[FunctionCall | ModuleCall, ast.Name]] = []
    taken = (*users, *context.modules_taking.get(made, ()))
    lines = [one.source.line for one in taken if one.source is not None]
    for user in users:
        line = find(user.source)
        if line is None or line.file is not place.line.file:
            continue
        for ref in user.inputs:
            node = _operand(line, user, ref) if ref.id == made else None
            if not isinstance(node, ast.Name):
                continue
            known.append((user, node))
    for user, node in known:
        own = isinstance(place.node, ast.Name) and node.id == place.node.id
        alike = [one for one, other in known if other.id == node.id]
        if meant if own else len(alike) == uses:
            continue
        if held(place.line.file, node, place.line.node, lines):
            yield user, node


def _users(
    context: CheckContext, tensor: int, frame: int | None
) -> Iterator[FunctionCall | ModuleCall]:
    """What takes a tensor in the forward of a module: functions, and other modules."""
    for call in context.graph.users.get(tensor, ()):
        if not isinstance(call, FunctionCall) or not call.outputs:
            continue
        if kind(call.name) == "detach":
            continue  # to be told, or kept
        user: FunctionCall | ModuleCall = call
        while user.parent is not None and user.parent != frame:
            user = context.graph.rec.calls[user.parent]
        if user.parent == frame:
            yield user


def _operand(
    line: Line, user: FunctionCall | ModuleCall, ref: TensorRef
) -> ast.expr | None:
    method = isinstance(user, FunctionCall) and is_method(user)
    if isinstance(line.node, ast.AugAssign) and ref.path == "args[0]":
        return line.node.target
    return line.argument(ref.path, method)


def _is_alone(place: Place) -> bool:
    """Whether nobody reads what the expression returns: it is there to change."""
    statement = place.line.file.statement(place.line.node)
    if isinstance(statement, ast.Expr) and statement.value is place.line.node:
        return True
    return given_up(place.line) is not None


def _wrong(
    context: CheckContext,
    rule: Check,
    call: FunctionCall,
    place: Place,
    user: FunctionCall | ModuleCall,
    name: ast.Name,
) -> Diagnosis:
    given = call.inputs[0]
    written = place.line.text(place.node)
    also = "" if written == name.id else f", which is {written} too,"
    return finding(
        context,
        rule,
        call,
        f"{plain(call.name)} works in place: {name.id}{also} is changed by it, and "
        f"read at {user.source} as if it were not.",
        culprits=[culprit(context, call, "overwrites its input")],
        fixes=[
            _anew(context, call),
            f"leave {written} as it is, with a function that returns a new tensor, or "
            f"keep {name.id} by .clone()",
        ],
        shapes=[("changed", given, None)],
        way=(given.id, None),
    )


def _anew(context: CheckContext, call: FunctionCall) -> Fix | None:
    """The line that changes the tensor with one that makes a new one."""
    layer, line = context.layer(call), find(call.source)
    if layer is not None and "inplace" in call.kwargs:
        return told(context, layer.name, inplace="False")
    if not call.direct or line is None:
        return None
    if "inplace" in call.kwargs:
        return with_argument(call, "inplace=False")
    if isinstance(line.node, ast.AugAssign):
        return _spelled_out(line, line.node)
    if isinstance(line.file.statement(line.node), ast.Expr):
        return None  # whose result nobody would take
    return renamed(call, plain(call.name))


def _spelled_out(line: Line, node: ast.AugAssign) -> Fix | None:
    """`x = x + y` for `x += y`."""
    sign = _SIGNS.get(type(node.op))
    if sign is None:
        return None
    name, value = line.text(node.target), line.text(node.value)
    if not isinstance(node.value, _SIMPLE):
        value = f"({value})"
    return Fix(line.around(f"{name} = {name} {sign} {value}"), where=line.source)


_SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_SIMPLE = (ast.Name, ast.Attribute, ast.Call, ast.Subscript, ast.Constant)
