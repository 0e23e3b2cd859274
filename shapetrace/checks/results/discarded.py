"""Results that are thrown away where the code goes on as if it had them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.lineage.dimensions import DATA
from shapetrace.records import (
    Diagnosis,
    Fix,
    FunctionCall,
    ModuleCall,
    Source,
    TensorRef,
)
from shapetrace.signatures import kind, named
from shapetrace.source.dead_names import given_up, loop_of
from shapetrace.source.line import Line, find
from shapetrace.source.rewrite import Part

#: calls that do nothing but return a new tensor
_PURE = named(
    "view",
    "unit",
    "transpose",
    "expand",
    "copy",
    "cast",
    "detach",
    "flip",
    "repeat",
    "join",
    "pad",
    "mask",
    "write",
    "activation",
    "dropout",
    "sigmoid",
    "pointwise",
    "power",
    "sum",
    "scale",
    "softmax",
    "log_softmax",
    "unit_length",
) - {
    "cpu",  # which is called to wait for the device
    "setitem",
    "copy",
    "zero",
}
#: what is of no use but to be used instead of what it was made of
_INSTEAD = ("mask", "unit_length")
#: tensors of one expression that are looked at
_LONG = 12
#: what a layer does that only returns a new tensor
_LAYERS = ("activation", "sigmoid", "dropout", "softmax", "log_softmax")


@check(
    "discarded-result",
    "warning",
    "a call that changes nothing but returns a new tensor is not made use of: what it "
    "returns is thrown away, and the old tensor is used on",
)
def discarded_result(context: CheckContext) -> Iterator[Diagnosis]:
    uses = _Uses(context)
    for call in context.functions:
        if call.name not in _PURE or not call.outputs or not call.inputs:
            continue
        if any(context.graph.users.get(ref.id) for ref in call.outputs):
            continue
        given = _taken(context, call)
        weight = context.graph.is_parameter(context.undressed(given.id))
        if not call.direct or not weight and not context.axes.descends(given.id, DATA):
            continue
        if not uses.go_on(call, given) or _writes(call):
            continue
        line = find(call.source)
        if line is None or not _is_call(line, call):
            continue
        if _alone(line):
            what = "that nobody takes: the one that it was called on"
        elif _renamed(context, call, line, weight):
            name = ast.unparse(line.file.statement(line.node)).partition(" =")[0]
            what = f"that nobody reads under its name, {name}: the one it was made of"
        else:
            continue
        yield finding(
            context,
            call,
            f"{call.name} returns a new tensor of {call.outputs[0].shape} {what} is as "
            "it was, and is used on.",
            culprits=[culprit(context, call, "returns what nobody takes")],
            fixes=[_kept(context, line, given) if given == call.inputs[0] else None],
            shapes=[("input", given, None), ("thrown away", call.outputs[0], None)],
            way=(given.id, None),
        )


def _taken(context: CheckContext, call: FunctionCall) -> TensorRef:
    """What a call is given: of a longer expression, the first parameter in it."""
    todo = list(call.inputs)
    for _ in range(_LONG):
        if not todo:
            break
        ref = todo.pop(0)
        if context.graph.is_parameter(context.undressed(ref.id)):
            return ref
        made, place = context.made_by(ref.id), call.source
        if made is not None and made.source is not None and place is not None:
            if (made.source.file, made.source.line) == (place.file, place.line):
                todo += made.inputs
    return call.inputs[0]


def is_missed(context: CheckContext, call: ModuleCall) -> bool:
    """Whether a layer that has nothing to do but to return a new tensor, an activation
    for example, stands alone on its line, and what it was given is used on."""
    info, line = context.graph.rec.modules.get(call.name), find(call.source)
    if info is None or line is None or info.parameters or info.buffers:
        return False
    made = context.made_by(call.outputs[0].id) if call.outputs else None
    if made is None or made.parent != call.index or kind(made.name) not in _LAYERS:
        return False
    if made.direct or _writes(made):
        return False
    later = (
        user
        for ref in call.inputs
        for user, _ in context.follow(ref.id)
        if user.order > call.end_order and user.source != call.source
    )
    return _alone(line) and any(True for _ in later)


class _Uses:
    """Where tensors are used, asked once of each."""

    def __init__(self, context: CheckContext) -> None:
        self._context = context
        self._last: dict[int, dict[Source | None, int]] = {}

    def go_on(self, call: FunctionCall, given: TensorRef) -> bool:
        """Whether the tensor is used afterwards, elsewhere, as if it had been changed;
        a parameter is in the next step as well."""
        tensor = self._context.undressed(given.id)
        weight = self._context.graph.is_parameter(tensor)
        return any(
            (weight or last > call.index) and source != call.source
            for at in {given.id, tensor if weight else given.id}
            for source, last in self._of(at).items()
        )

    def _of(self, tensor: int) -> dict[Source | None, int]:
        """The last call of each line that takes it."""
        if tensor not in self._last:
            found = self._last[tensor] = {}
            for user, _ in self._context.follow(tensor):
                if user.name != "data":
                    found[user.source] = max(user.index, found.get(user.source, 0))
        return self._last[tensor]


def _writes(call: FunctionCall) -> bool:
    """Whether a call is told to write its result somewhere."""
    told = (call.kwargs.get("inplace"), *call.args[1:])
    return call.kwargs.get("out") is not None or any(one is True for one in told)


def _is_call(line: Line, call: FunctionCall) -> bool:
    """Whether the expression is the call itself: a library's function may make it
    inside, as `ema.update_parameters(model)` does."""
    if not isinstance(line.tree, ast.Call):
        return isinstance(line.tree, ast.BinOp)
    called = line.tree.func
    return getattr(called, "attr", getattr(called, "id", None)) == call.name


def _alone(line: Line) -> bool:
    """Whether a call is a statement of its own, and the value of no cell."""
    statement = line.file.statement(line.node)
    if not isinstance(statement, ast.Expr) or statement.value is not line.node:
        return False
    return line.source.cell is None or statement not in line.file.module.body


def _renamed(
    context: CheckContext, call: FunctionCall, line: Line, weight: bool
) -> bool:
    """Whether a result is given a name that nothing reads: that of what it was made of,
    where it only hides an item of a loop or an argument, or a parameter; any name,
    where it is of no use but in the place of that."""
    name = given_up(line)
    if name is None:
        return False
    if kind(call.name) in _INSTEAD:
        return True
    again = any(
        isinstance(node, ast.Name) and node.id == name for node in ast.walk(line.tree)
    )
    return again and (weight or _is_given(line, name))


def _is_given(line: Line, name: str) -> bool:
    """Whether a name stands for an item of a loop, or an argument, and for no other
    value than the one that it is given up with."""
    home = line.file.home(line.node)
    if loop_of(line, name) is not None:
        return True
    if isinstance(home, ast.Module | ast.Lambda):
        return False
    args = home.args
    stores = [
        node
        for node in ast.walk(home)
        if isinstance(node, ast.Name)
        and node.id == name
        and isinstance(node.ctx, ast.Store)
    ]
    parameters = [*args.posonlyargs, *args.args, *args.kwonlyargs]
    return len(stores) == 1 and any(one.arg == name for one in parameters)


def _kept(context: CheckContext, line: Line, given: TensorRef) -> Fix | None:
    """The line with what it returns kept: under the name that it was called on, or in
    the parameter itself."""
    node = line.argument("args[0]", method=True)
    if not isinstance(node, (ast.Name, ast.Attribute)):
        return None
    text, statement = line.text(node), line.file.statement(line.node)
    origin = context.graph.origin(context.undressed(given.id))
    if origin is None or origin.kind != "parameter":
        if not _alone(line) or loop_of(line, text) is not None:
            return None
        return Fix(line.around(f"{text} = {line.code}"), where=line.source)
    if text.endswith(".data"):
        target, code = text, line.code
    else:
        target, code = f"{text}.data", line.code.replace(text, f"{text}.data", 1)
        if line.code.find(text) != _offset(line, node):
            return None
    if isinstance(statement, ast.Assign):
        parts: list[Part] = [(statement.targets[0], target), (line.node, code)]
        return Fix(line.with_parts(parts), where=line.source)
    return Fix(line.around(f"{target} = {code}"), where=line.source)


def _offset(line: Line, node: ast.expr) -> int:
    """Where a part of an expression on one line begins in it; -1 for several lines."""
    if node.lineno != line.node.lineno:
        return -1
    return node.col_offset - line.node.col_offset
