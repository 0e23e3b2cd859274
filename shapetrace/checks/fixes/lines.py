"""Lines to paste: the user's own line with the mistake mended in it; None where it is
not known, or where the change cannot be written into it."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.trying import Change, place_of
from shapetrace.records import Fix, FunctionCall, ModuleCall, Source, TensorRef
from shapetrace.signatures import is_loss, is_method
from shapetrace.source.build_line import placed, with_arguments
from shapetrace.source.constructor import constructor
from shapetrace.source.line import Line, find, keyword, suffixed
from shapetrace.source.lines import lines_between
from shapetrace.source.scope import Scope
from shapetrace.source.tree import last_name

#: characters of an expression that is told instead of a name
_SHORT = 30
_SIMPLE = (ast.Name, ast.Attribute, ast.Call, ast.Subscript)


def operand(
    call: FunctionCall, ref: TensorRef, template: str, note: str = ""
) -> Fix | None:
    """A call with one of its tensors changed; `{}` in the template stands for it. None
    where the line does not hold the tensor: it is what a library made on the way."""
    line, node = at(call, ref.path)
    if line is None or node is None:
        return None
    text = suffixed(line.text(node), node, template)
    return Fix(line.with_part(node, text), detail=note, where=line.source)


def instead(call: FunctionCall, template: str, note: str = "") -> Fix | None:
    """Something else in the place of a call; `{}` stands for its first tensor."""
    line, node = at(call, "args[0]")
    if line is None or node is None or not isinstance(line.tree, ast.Call):
        return None
    text = line.text(node)
    if not isinstance(node, _SIMPLE) and "({})" not in template:
        text = f"({text})"
    new = line.around(line.spelled(template.replace("{}", text)))
    return Fix(new, detail=note, where=line.source)


def without_data(cut: FunctionCall) -> Fix | None:
    """A line without its `.data`, which takes a tensor out of autograd."""
    line = find(cut.source)
    if line is None or not isinstance(line.tree, ast.Attribute):
        return None
    if line.tree.attr != "data":
        return None
    return Fix(line.around(line.text(line.tree.value)), where=line.source)


def instead_of(call: FunctionCall, ref: TensorRef) -> Fix | None:
    """One of a call's tensors in the place of what the call makes of it."""
    line, node = at(call, ref.path)
    if line is None or node is None:
        return None
    return Fix(line.around(line.text(node)), where=line.source)


def named_first(
    call: FunctionCall,
    other: TensorRef,
    name: str,
    ref: TensorRef,
    method: str,
    note: str = "",
) -> Fix | None:
    """A call with one tensor given the form of another, which is computed and named on
    a line before; None where the name is taken, or it could come too early there."""
    line, node = at(call, other.path)
    _, own = at(call, ref.path)
    if line is None or node is None or own is None:
        return None
    statement = line.file.statement(line.node)
    if not isinstance(statement, (ast.Assign, ast.Expr, ast.Return)):
        return None
    home = line.file.home(line.node)
    if home is not line.file.home(statement):
        return None  # a lambda, which is called later
    if Scope(line.file, home).holder(name) is not None:
        return None
    new = suffixed(line.text(own), own, f"{{}}.{method}({name})")
    after = line.with_parts([(node, name), (own, new)])
    return Fix(f"{name} = {line.text(node)}\n{after}", detail=note, where=line.source)


def sizes_of(call: FunctionCall) -> list[str]:
    """The sizes that a view asks for, as the user's line has them; [] where it is not
    known, or they come in one piece."""
    line = find(call.source)
    if line is None or not isinstance(line.tree, ast.Call):
        return []
    given = line.tree.args[1 - is_method(call) :]
    if len(given) == 1 and isinstance(given[0], (ast.Tuple, ast.List)):
        given = given[0].elts
    if line.tree.keywords or any(isinstance(one, ast.Starred) for one in given):
        return []
    return [line.text(one) for one in given]


def renamed(call: FunctionCall, new: str) -> Fix | None:
    """Another function of the same module, with the same arguments."""
    line = find(call.source)
    if line is None or not isinstance(line.tree, ast.Call):
        return None
    func = line.tree.func
    if not isinstance(func, ast.Attribute) or func.attr != call.name:
        return None
    text = line.text(func).removesuffix(call.name) + new
    return Fix(line.with_part(func, text), where=line.source)


def indexed(call: FunctionCall, index: str, note: str) -> Fix | None:
    """An item taken by another index."""
    line = find(call.source)
    if line is None or not isinstance(line.tree, ast.Subscript):
        return None
    return Fix(line.with_part(line.tree.slice, index), detail=note, where=line.source)


def summed(
    call: FunctionCall, data: TensorRef, rows: TensorRef, template: str
) -> Fix | None:
    """A sum of data and the first rows of a table, with the table cut another way: the
    template takes the data, the table and the data."""
    line, one = at(call, data.path)
    _, other = at(call, rows.path)
    if line is None or not isinstance(line.tree, ast.BinOp):
        return None
    if not isinstance(one, _SIMPLE) or not isinstance(other, ast.Subscript):
        return None
    text, table = line.text(one), line.text(other.value)
    return Fix(line.around(template.format(text, table, text)), where=line.source)


def along(context: CheckContext, call: FunctionCall, dim: int) -> Fix | None:
    """A softmax, or a norm, over another dimension."""
    fix = _along(context, call, dim)
    return context.trial(fix, Change(call, settings={"dim": dim}))


def _along(context: CheckContext, call: FunctionCall, dim: int) -> Fix | None:
    layer = context.layer(call)
    if layer is not None and layer.type in ("Softmax", "LogSoftmax"):
        found = built(context, layer.name, dim=dim)
        if found is not None:
            return found
    line = find(call.source)
    if line is not None and isinstance(line.tree, ast.Call) and layer is None:
        place = place_of(call.name, "dim") - is_method(call)
        named = [kw.value for kw in line.tree.keywords if kw.arg == "dim"]
        values = named or line.tree.args[place : place + 1]
        if values and not isinstance(values[0], ast.Starred):
            return Fix(line.with_part(values[0], str(dim)), where=line.source)
        text = f"{line.code[:-1].rstrip()}, dim={dim})"
        return Fix(line.around(text), where=line.source)
    return None


def inverted(call: FunctionCall) -> Fix | None:
    """The call of a layer with the mask of its keys inverted."""
    line = find(call.source)
    if line is None or not isinstance(line.tree, ast.Call):
        return None
    for given in line.tree.keywords:
        if given.arg is not None and given.arg.endswith("key_padding_mask"):
            text = suffixed(line.text(given.value), given.value, "{}")
            if not isinstance(given.value, _SIMPLE):
                text = f"({text})"
            return Fix(line.with_part(given.value, f"~{text}"), where=line.source)
    return None


def says(call: FunctionCall, name: str, place: int) -> bool | None:
    """Whether the user's line gives an argument, which torch fills in otherwise; None
    where the line is not known."""
    line = find(call.source)
    if line is None or not isinstance(line.tree, ast.Call) or not call.direct:
        return None
    named = any(known.arg in (name, None) for known in line.tree.keywords)
    return named or len(line.tree.args) > place - is_method(call)


def with_argument(
    call: FunctionCall, argument: str, *, absent: bool = False
) -> Fix | None:
    """A call with one more named argument, or with that one changed. `absent`: it was
    not given it."""
    name, _, value = argument.partition("=")
    line = find(call.source)
    new = None if line is None else line.with_keyword(name, value, absent=absent)
    return None if line is None or new is None else Fix(new, where=line.source)


def each_with_argument(calls: Sequence[FunctionCall], argument: str) -> Fix | None:
    """Several calls of one statement with the same named argument each."""
    name, _, value = argument.partition("=")
    lines = [line for call in calls if (line := find(call.source)) is not None]
    parts = [keyword(line.file, line.tree, name, value) for line in lines]
    if not lines or len(lines) < len(calls) or None in parts:
        return None
    told = lines[0].with_parts([part for part in parts if part is not None])
    return Fix(told, where=lines[0].source)


def first_name(call: FunctionCall) -> str | None:
    """What the first tensor of a call is called, where it has a name."""
    _, node = at(call, "args[0]")
    return node.id if isinstance(node, ast.Name) else None


def after(call: FunctionCall, template: str) -> Fix | None:
    """A call whose own result is changed, for all who take it."""
    line = find(call.source)
    if line is None or not call.direct:
        return None
    text = suffixed(line.code, line.tree, template)
    return Fix(line.around(text), where=line.source)


def undone(call: FunctionCall) -> Fix | None:
    """A method or an index left out: what it was taken of in its place."""
    line = find(call.source)
    if line is None or not call.direct:
        return None
    if isinstance(line.tree, ast.Subscript):
        return Fix(line.around(line.text(line.tree.value)), where=line.source)
    new = line.without_call() if isinstance(line.tree, ast.Call) else None
    return None if new is None else Fix(new, where=line.source)


def columns_up_to(call: FunctionCall, count: int) -> Fix | None:
    """An index of one column, `x[:, 2]`, as that of so many, `x[:, :2]`; None where it
    is another column."""
    line = find(call.source)
    if line is None or not isinstance(line.tree, ast.Subscript):
        return None
    index = line.tree.slice
    for part in index.elts if isinstance(index, ast.Tuple) else []:
        if isinstance(part, ast.Constant) and part.value == count:
            return Fix(line.with_part(part, f":{count}"), where=line.source)
    return None


def code_of(call: FunctionCall, ref: TensorRef) -> str:
    """How a call's tensor is written, where that is short."""
    line, node = at(call, ref.path)
    text = "" if line is None or not isinstance(node, _SIMPLE) else line.text(node)
    return text if len(text) <= _SHORT else ""


def interleaved(call: FunctionCall, count: int) -> Fix | None:
    """`repeat_interleave` in the place of a repeat of the rows, by the same count."""
    line = find(call.source)
    if line is None or not isinstance(line.tree, ast.Call) or not call.direct:
        return None
    if call.name not in ("repeat", "tile"):
        return None
    sizes = [node for node in line.tree.args if not isinstance(node, ast.Starred)]
    rows: ast.expr | None = sizes.pop(0) if not is_method(call) and sizes else None
    if is_method(call) and isinstance(line.tree.func, ast.Attribute):
        rows = line.tree.func.value
    if rows is None:
        return None
    if sizes and isinstance(sizes[0], (ast.Tuple, ast.List)) and sizes[0].elts:
        sizes = sizes[0].elts
    again = line.text(sizes[0]) if sizes else str(count)
    text = suffixed(line.text(rows), rows, f"{{}}.repeat_interleave({again}, dim=0)")
    return Fix(line.around(text), where=line.source)


def built(
    context: CheckContext,
    name: str,
    text: str | None = None,
    note: str = "",
    **changes: Any,
) -> Fix | None:
    """The line that builds a module, with other arguments or another module in it."""
    info = context.graph.rec.modules.get(name)
    if info is None or not name:
        return None
    text = text or constructor(info, **changes)
    if text is None:
        return None
    line, place = placed(context.graph.constructions, info, text)
    return Fix(line, detail=note, where=place) if line else None


def told(context: CheckContext, name: str, **values: str) -> Fix | None:
    """The line that builds a module, or the layer that a stack copies, with arguments
    changed and the rest as it was written; None where the line is not known."""
    found = with_arguments(context.graph.constructions, name, **values)
    return None if found is None else Fix(found[0], where=found[1])


def around_layer(call: ModuleCall, template: str) -> Fix | None:
    """A layer's call with the template around its input and around its result; None
    where the line is not known, or more than one tensor comes out."""
    line = find(call.source)
    if line is None or call.output_type != "Tensor":
        return None
    if not isinstance(line.tree, ast.Call) or len(line.tree.args) != 1:
        return None
    (given,) = line.tree.args
    if line.tree.keywords or isinstance(given, ast.Starred):
        return None
    inner = suffixed(line.text(given), given, template)
    func = line.text(line.tree.func)
    return Fix(
        line.around(template.replace("{}", f"{func}({inner})")), where=line.source
    )


def in_other_order(first: Source | None, second: Source | None) -> Fix | None:
    """Two statements that stand one below the other, the other way round."""
    if first is None or second is None or first.file != second.file:
        return None
    spans = [(one.line, one.end_line or one.line) for one in (first, second)]
    if spans[0][1] + 1 != spans[1][0]:
        return None
    texts = [
        [line.strip() for line in lines_between(first.file, start, end)]
        for start, end in spans
    ]
    if not all(len(text) == 1 and text[0] for text in texts):
        return None
    where = replace(first, end_line=spans[1][1], column=None, end_column=None)
    return Fix(f"{texts[1][0]}\n{texts[0][0]}", where=where)


def at(call: FunctionCall, path: str) -> tuple[Line | None, ast.expr | None]:
    """The user's line of a call, and the expression of one of its tensors."""
    line = find(call.source)
    if line is None or not call.direct and not is_loss(call.name):
        return None, None  # the line of a layer's call, not one of its functions
    if isinstance(line.tree, ast.Call) and not is_loss(call.name):
        if last_name(line.tree.func).rstrip("_") != call.name.rstrip("_"):
            return None, None  # of what a library's own method does: `log_prob`
    return line, line.argument(path, is_method(call))
