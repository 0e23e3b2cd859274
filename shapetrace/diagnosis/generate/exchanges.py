"""Another function, another loss, another kind of layer in the place of one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.generate.own_calls import own_calls
from shapetrace.diagnosis.hypothesis import Hypothesis, Repair, Taken, Written
from shapetrace.diagnosis.repair import edits
from shapetrace.diagnosis.repair.changes import recalled
from shapetrace.diagnosis.repair.rebuilding import installed
from shapetrace.diagnosis.replay.called_again import with_inputs
from shapetrace.records import FunctionCall, ModuleInfo
from shapetrace.signatures import is_loss, is_method
from shapetrace.source.constructor import constructor
from shapetrace.source.line import find, suffixed

#: functions that users take for one another, with the same arguments
_FOR = {
    "mm": ("matmul",),
    "bmm": ("matmul",),
    "mv": ("matmul",),
    "dot": ("matmul",),
    "matmul": ("mul",),
    "mul": ("matmul",),
    "view": ("reshape",),
    "stack": ("cat",),
    "cat": ("stack",),
    "concat": ("stack",),
    "split": ("chunk",),
    "chunk": ("split",),
    "add": ("cat",),
}
_PRODUCTS = ("matmul", "mm", "bmm", "baddbmm")
_SPACE = ("Conv", "BatchNorm", "MaxPool", "AvgPool", "InstanceNorm", "Dropout")


def exchanges(case: Case) -> Iterator[Hypothesis | None]:
    for call in own_calls(case):
        for other in _FOR.get(call.name, ()):
            yield _renamed(case, call, other)
        if call.name in (*_PRODUCTS, "linear") and len(call.inputs) > 1:
            yield _swapped(case, call)
            yield _turned(case, call)
        if call.name == "einsum":
            yield from _relettered(case, call)
        if call.name == "stack" and call is case.call:
            yield _padded(case, call)
            yield _along(case, call)
    yield from _layers(case)
    if case.mismatch.loss:
        yield from _losses(case)


def _renamed(case: Case, call: FunctionCall, other: str) -> Hypothesis | None:
    if call.name in ("add", "mul", "matmul") and call is not case.call:
        return None
    if call.name in ("split", "chunk") and call.parent is None:
        return None  # how a loop deals its data out in batches

    def write() -> Written | None:
        line = find(call.source)
        if line is not None and line.code.count(f"{call.name}(") == 1:
            code = line.code.replace(f"{call.name}(", f"{other}(")
            return line.around(code), line.source
        if line is not None and isinstance(line.tree, ast.BinOp) and other == "matmul":
            left, right = line.text(line.tree.left), line.text(line.tree.right)
            return line.around(f"{left} @ {right}"), line.source
        return None

    def changed(one: FunctionCall) -> FunctionCall | None:
        home = "torch.Tensor" if is_method(one) else "torch"
        new = replace(one, name=other, qualname=f"{home}.{other}")
        if call.name == "add" and other == "cat":
            refs = one.inputs[:2]
            if len(refs) < 2:
                return None
            parts = tuple(replace(r, path=f"args[0][{i}]") for i, r in enumerate(refs))
            return replace(new, inputs=parts, args=(list(parts),), kwargs={"dim": 1})
        return new

    words = f"`{other}` in the place of `{call.name}`"
    loses = ""
    if call.name == "stack" and call is case.call:
        if not any(case.graph.from_model(ref.id) for ref in call.inputs):
            loses = "where one sample ends and the next begins"
    return recalled(case, call, changed, write, words, "exchange", loses)


def _along(case: Case, call: FunctionCall) -> Hypothesis | None:
    """What a model gave piece by piece, joined along the dimension of which each piece
    has another size."""
    shapes = [ref.shape for ref in call.inputs]
    if len({len(shape) for shape in shapes}) != 1 or len(call.args) > 1 or call.kwargs:
        return None
    uneven = [dim for dim, sizes in enumerate(zip(*shapes)) if len(set(sizes)) > 1]
    if len(uneven) != 1 or uneven[0] == 0:
        return None  # along the first `cat` joins as it is

    def write() -> Written | None:
        line = find(call.source)
        if line is None or line.code.count("stack(") != 1:
            return None
        code = line.code.replace("stack(", "cat(").rstrip()[:-1]
        return line.around(f"{code}, dim={uneven[0]})"), line.source

    def changed(one: FunctionCall) -> FunctionCall | None:
        dim = {"dim": uneven[0]}
        return replace(one, name="cat", qualname="torch.cat", kwargs=dim)

    words = f"joins the pieces along dim {uneven[0]}"
    return recalled(case, call, changed, write, words, "exchange")


def _padded(case: Case, call: FunctionCall) -> Hypothesis | None:
    """Sequences of several lengths padded to the longest before they are stacked."""
    refs, line = call.inputs, find(call.source)
    same = len({ref.shape[1:] for ref in refs}) == 1 and all(ref.shape for ref in refs)
    if line is None or not same or any(case.graph.from_model(ref.id) for ref in refs):
        return None
    if not isinstance(line.tree, ast.Call) or len(line.tree.args) != 1:
        return None  # along another dimension: steps are not what is joined
    lengths = sorted({ref.shape[0] for ref in refs})
    longest = lengths[-1]
    edit = edits.resized({0: longest})
    repair = Repair(
        taken=tuple(Taken(ref.id, edit, call.order, call.order) for ref in refs)
    )
    inside = line.text(line.tree.args[0])
    code = f"torch.nn.utils.rnn.pad_sequence({inside}, batch_first=True)"
    return Hypothesis(
        "exchange",
        case.site_of(refs[0].id),
        repair,
        line=line.around(line.spelled(code)),
        where=line.source,
        words="pads all to the length of the longest",
        reason=f"has sequences of {', '.join(map(str, lengths))}",
        size=lengths[0],
        expected=longest,
        outcome=case.replay.start(repair),
    )


def _swapped(case: Case, call: FunctionCall) -> Hypothesis | None:
    """`adjacency @ x` where `x @ adjacency` stands."""

    def write() -> Written | None:
        line = find(call.source)
        if line is None or is_method(call) and isinstance(line.tree, ast.Call):
            return None
        a, b = (line.argument(r.path, is_method(call)) for r in call.inputs[:2])
        return None if a is None or b is None else (line.swapped(a, b), line.source)

    def changed(one: FunctionCall) -> FunctionCall | None:
        if len(one.inputs) < 2:
            return None
        a, b, *rest = one.inputs
        turned = replace(b, path=a.path), replace(a, path=b.path)
        return with_inputs(one, (*turned, *rest))

    words, reason = "the other way round", "takes its operands in this order"
    return recalled(case, call, changed, write, words, "exchange", reason=reason)


def _turned(case: Case, call: FunctionCall) -> Hypothesis | None:
    """One tensor that stands on both sides of a product, the second time transposed."""
    second = call.inputs[1]
    if len({ref.id for ref in call.inputs[:2]}) > 1 or len(second.shape) < 2:
        return None
    edit = edits.transpose(-2, -1)

    def write() -> Written | None:
        line = find(call.source)
        node = line.argument(second.path, is_method(call)) if line is not None else None
        if line is None or node is None:
            return None
        part = suffixed(line.text(node), node, edit.text)
        return line.with_part(node, part), line.source

    def changed(one: FunctionCall) -> FunctionCall | None:
        # an id of its own: what is edited is this operand alone
        turned = replace(edit.apply(one.inputs[1]), id=-1)
        return with_inputs(one, (one.inputs[0], turned))

    return recalled(case, call, changed, write, edit.words, "insert")


def _relettered(case: Case, call: FunctionCall) -> Iterator[Hypothesis | None]:
    """An einsum with one operand's letters in the order of its dimensions."""
    line = find(call.source)
    node = None if line is None else line.argument("args[0]")
    if not call.args or not isinstance(call.args[0], str):
        return
    equation = call.args[0].replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    for at, term in enumerate(terms):
        if len(term) != len(set(term)) or len(term) > 6 or "." in term:
            continue
        for a, b in combinations(range(len(term)), 2):
            letters = list(term)
            letters[a], letters[b] = letters[b], letters[a]
            new = "".join(letters)
            other = ",".join([*terms[:at], new, *terms[at + 1 :]]) + arrow + right
            told: Written | None = None
            if line is not None and isinstance(node, ast.Constant):
                told = line.with_part(node, repr(other)), line.source
            yield recalled(
                case,
                call,
                partial(_with_equation, equation=other),
                partial(_known, told),
                f"`{new}` in the place of `{term}`",
                "exchange",
                reason=f"names the dimensions `{term}`",
            )


def _with_equation(call: FunctionCall, equation: str) -> FunctionCall:
    return replace(call, args=(equation, *call.args[1:]))


def _known(told: Written | None) -> Written | None:
    return told


def _layers(case: Case) -> Iterator[Hypothesis | None]:
    """A layer for another number of dimensions of space; a normalisation over channels
    that stand in dim 1."""
    layer = case.layer
    info = case.graph.rec.modules.get(layer.name) if layer is not None else None
    if layer is None or info is None or not layer.inputs:
        return
    shape = layer.inputs[0].shape
    kind = info.type
    if kind.startswith(_SPACE) and kind[-2:] in ("1d", "2d", "3d"):
        rank = len(shape)
        if rank == 2 and "Norm" in kind:
            rank = 3  # those of one dimension of space take it without any, too
        for space in (1, 2, 3):
            if space != int(kind[-2]) and rank == space + 2:
                yield _other_space(case, info, f"{kind[:-2]}{space}d", space)
    if kind in ("LayerNorm", "RMSNorm") and len(shape) > 2:
        wanted = info.attributes.get("normalized_shape")
        if wanted == (shape[1],):
            yield _group_norm(case, info, shape[1])


def _other_space(
    case: Case, info: ModuleInfo, kind: str, space: int
) -> Hypothesis | None:
    attributes = {key: _spread(value, space) for key, value in info.attributes.items()}
    home = info.qualname.rpartition(".")[0]
    parameters = tuple(
        (
            replace(ref, shape=(*ref.shape[:2], *ref.shape[2:3] * space))
            if len(ref.shape) > 2
            else ref
        )
        for ref in info.parameters
    )
    new = ModuleInfo(
        info.name,
        kind,
        f"{home}.{kind}",
        parameters,
        info.buffers,
        attributes,
        info.training,
    )
    text = constructor(new)
    made = installed(case, info, text, new, "layer", f"{kind} instead of {info.type}")
    return made and replace(made, reason=f"is a {info.type}")


def _spread(value: Any, space: int) -> Any:
    if isinstance(value, tuple) and value and len(set(value)) == 1:
        return value[:1] * space
    return value


def _group_norm(case: Case, info: ModuleInfo, channels: int) -> Hypothesis | None:
    attributes = {"num_groups": 1, "num_channels": channels, "affine": True}
    new = ModuleInfo(
        info.name,
        "GroupNorm",
        "torch.nn.modules.normalization.GroupNorm",
        info.parameters,
        info.buffers,
        attributes,
        info.training,
    )
    words = f"normalises over the {channels} channels, which stand in dim 1"
    made = installed(case, info, f"nn.GroupNorm(1, {channels})", new, "layer", words)
    return made and replace(
        made,
        reason=f"normalises the last dimension; the {channels} channels stand in dim 1",
    )


def _losses(case: Case) -> Iterator[Hypothesis | None]:
    """The loss that the target's kind asks for: classes by number, or values."""
    call, prediction, target = case.call, case.prediction, case.target
    if prediction is None or target is None or not is_loss(call.name):
        return
    indices = not target.dtype.is_floating_point
    by_class = call.name in ("cross_entropy", "nll_loss")
    other = ""
    if not by_class and indices and len(prediction.shape) == len(target.shape) + 1:
        other = "cross_entropy"
    elif by_class and not indices and prediction.shape[:1] == target.shape[:1]:
        other = "mse_loss" if prediction.shape[-1:] in ((1,), ()) else ""
        if len(target.shape) == 2 and prediction.shape == target.shape:
            other = "binary_cross_entropy_with_logits"
    yield _swapped(case, call)
    if not other:
        return

    def write() -> Written | None:
        line = find(call.source)
        if line is None or line.code.count(call.name) != 1:
            return None
        return line.around(line.code.replace(call.name, other)), line.source

    def changed(one: FunctionCall) -> FunctionCall | None:
        return replace(
            one, name=other, qualname=f"torch.nn.functional.{other}", kwargs={}
        )

    words = f"`{other}` for such a target"
    made = recalled(case, call, changed, write, words, "loss")
    yield made and replace(made, site=case.site_of(target.id))
