"""A call of the user's, or a layer that changes shapes alone, left out."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.generate.own_calls import own_calls
from shapetrace.diagnosis.hypothesis import (
    UNWRITTEN,
    Hypothesis,
    Repair,
    Taken,
    Written,
)
from shapetrace.diagnosis.patterns.handed_on import HandedOn, handed_on
from shapetrace.diagnosis.repair import edits
from shapetrace.diagnosis.repair.changes import expression, method, recalled
from shapetrace.diagnosis.repair.rebuilding import installed
from shapetrace.diagnosis.sites import site_of_call, site_of_data, site_of_module
from shapetrace.records import FunctionCall, ModuleCall, ModuleInfo, TensorRef
from shapetrace.signatures import is_method
from shapetrace.source.constructor import constructor
from shapetrace.source.line import find, line_of
from shapetrace.source.loops import looped

#: what a program computes with them, it also computes without
_LEFT_OUT = frozenset(
    "squeeze unsqueeze flatten view reshape permute transpose t swapaxes movedim "
    "getitem mean sum amax argmax max softmax log_softmax sigmoid repeat expand "
    "repeat_interleave tile one_hot pad interpolate narrow select unflatten contiguous "
    "adaptive_avg_pool2d adaptive_avg_pool1d avg_pool2d max_pool2d max_pool1d "
    "pixel_shuffle cumsum T mT".split()
)
_SHAPES = frozenset(
    "squeeze unsqueeze flatten view reshape permute transpose t swapaxes movedim "
    "unflatten contiguous T mT select narrow".split()
)
_LAYERS = frozenset(
    "Flatten Unflatten AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveMaxPool2d Upsample "
    "MaxPool1d MaxPool2d AvgPool1d AvgPool2d PixelShuffle Softmax".split()
)


def omissions(case: Case) -> Iterator[Hypothesis | None]:
    for call in own_calls(case):
        if call is case.call or not call.inputs or not call.outputs:
            continue
        name = call.name.rstrip("_")
        if name == "squeeze":
            yield from _squeezes(case, call)
        if name == "getitem":
            yield from _indices(case, call)
        if name == "unbind":
            yield _one_by_one(case, call)
        # of `x.max(dim=1)` the code takes a part, which what is left has not
        whole = len(call.outputs) == 1
        if (
            name in _LEFT_OUT
            and whole
            and not case.graph.is_parameter(call.inputs[0].id)
        ):
            yield _left_out(case, call)
    for found in handed_on(case):
        yield _too_late(case, found)
    for behind in case.behind:
        if isinstance(behind.call, ModuleCall):
            info = case.graph.rec.modules.get(behind.call.name)
            if info is not None and info.type in _LAYERS:
                yield _without_layer(case, behind.call, info)


def _one_by_one(case: Case, call: FunctionCall) -> Hypothesis | None:
    """A loop over a tensor, as over a list of outputs: it goes through the batch."""
    whole, parts = call.inputs[0], call.outputs or ()
    edit = edits.shaped(whole.shape)
    repair = Repair(taken=tuple(Taken(ref.id, edit) for ref in parts))
    line, where = looped(call.source) or UNWRITTEN
    return Hypothesis(
        "omit",
        site_of_call(case.graph, call),
        repair,
        case.hops(parts[0].id),
        line,
        where,
        f"takes {whole.shape} as one, not each of its {len(parts)} alone",
        reason=f"goes through {whole.shape} one by one: {parts[0].shape}",
    )


def _too_late(case: Case, found: HandedOn) -> Hypothesis:
    """What stands before a layer handed on instead of what it gives: the function that
    hands it on has no name for it, as a rule, so that there is no line."""
    maker, early, late = found
    if isinstance(maker, ModuleCall):
        site = site_of_module(maker)
    else:
        site = site_of_call(case.graph, maker)
    reason = f"makes {late.shape} of {early.shape}, and that is handed on"
    words = f"hands on what `{case.graph.said(site.name)}` is given"
    return Hypothesis("omit", site, reason=reason, words=words)


def _shapes_alone(call: FunctionCall) -> bool:
    """Whether a call only gives the same values another shape: what else it does, such
    as picking rows by a mask, is lost without it."""
    name = call.name.rstrip("_")
    if name == "getitem":
        parts = call.args[1] if len(call.args) > 1 else None
        return not any(isinstance(one, TensorRef) for one in _listed(parts))
    return name in _SHAPES


def _listed(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)


def _left_out(case: Case, call: FunctionCall) -> Hypothesis | None:

    def write() -> Written | None:
        line = find(call.source)
        node = None if line is None else line.argument("args[0]", is_method(call))
        if line is None or node is None or line.tree is node:
            return None
        return line.around(line.text(node)), line.source

    before, after = call.inputs[0].shape, (call.outputs or call.inputs)[0].shape
    made = recalled(
        case,
        call,
        lambda one: method(one, "clone"),
        write,
        f"leaves `{call.name}` out",
        "omit",
        "" if _shapes_alone(call) else f"what `{call.name}` is there for",
        reason=f"makes {after} of {before}",
    )
    target = case.target
    alone = made is not None and _shapes_alone(call)
    if made and alone and target and call.outputs and call.outputs[0].id == target.id:
        # of a target that no model made, what shaped it before the loss is its own
        if call.parent is None and not case.graph.from_model(target.id):
            site = site_of_data(case.graph, target.id, target=True)
            made = replace(made, site=site)
    return made


def _squeezes(case: Case, call: FunctionCall) -> Iterator[Hypothesis | None]:
    """`squeeze()` drops a batch of one too: one dimension alone, by its number."""
    if len(call.args) > 1 or call.kwargs:
        return
    shape = call.inputs[0].shape
    for dim in reversed(range(len(shape))):
        if shape[dim] != 1 or shape.count(1) < 2:
            continue
        kept = [at for at, size in enumerate(shape) if size == 1 and at != dim]
        reason = f"drops every dimension of size 1 of {shape}"
        if 0 in kept:
            reason += ", the batch of one too"
        yield recalled(
            case,
            call,
            partial(_squeezed, dim=dim),
            partial(_squeeze_line, call, dim),
            f"squeezes dim {dim} alone",
            "omit",
            reason=reason,
        )


def _squeezed(call: FunctionCall, dim: int) -> FunctionCall:
    return method(call, "squeeze", dim)


def _squeeze_line(call: FunctionCall, dim: int) -> Written | None:
    told = expression(call, f"{{}}.squeeze({dim})")
    if told is None or call.qualname == "torch.squeeze":
        told = _called(call, f"torch.squeeze({{}}, {dim})") or told
    return told


def _called(call: FunctionCall, template: str) -> Written | None:
    line = find(call.source)
    node = None if line is None else line.argument("args[0]")
    if line is None or node is None:
        return None
    return line.around(template.replace("{}", line.text(node))), line.source


def _indices(case: Case, call: FunctionCall) -> Iterator[Hypothesis | None]:
    """One part of an index at a time: a place as the dimension whole, or a slice of
    one; a span as the whole."""
    line = find(call.source)
    if not isinstance(call.args[1:2], tuple) or len(call.args) < 2:
        return
    index = call.args[1]
    parts = list(index) if isinstance(index, tuple) else [index]
    tree = line.tree if line is not None else None
    nodes: list[ast.expr] = []
    if isinstance(tree, ast.Subscript):
        inner = tree.slice
        nodes = list(inner.elts) if isinstance(inner, ast.Tuple) else [inner]
    for at, part in enumerate(parts):
        others: list[tuple[object, str, str]] = []
        if type(part) is int:
            last = None if part == -1 else part + 1
            text = f"{part}:" if part == -1 else f"{part}:{part + 1}"
            others = [(slice(None), ":", f"keeps all of the dimension of {part}")]
            others += [(slice(part, last), text, "keeps the dimension, of size 1")]
        elif isinstance(part, slice) and part != slice(None):
            others = [(slice(None), ":", "keeps all of that dimension")]
        for new, text, words in others:
            changed = tuple(new if i == at else p for i, p in enumerate(parts))
            whole = all(part == slice(None) for part in changed)
            if whole and case.mismatch.silent:
                continue  # the index is left out
            told: Written | None = None
            if line is not None and len(nodes) == len(parts):
                told = line.with_part(nodes[at], text), line.source
            shape = call.inputs[0].shape
            taken = (call.outputs or call.inputs)[0].shape
            yield recalled(
                case,
                call,
                partial(_indexed, index=changed),
                partial(_known, told),
                words,
                "omit",
                reason=f"takes {taken} of {shape}",
            )


def _indexed(call: FunctionCall, index: tuple[object, ...]) -> FunctionCall:
    return replace(call, args=(call.args[0], index))


def _known(told: Written | None) -> Written | None:
    return told


def _without_layer(case: Case, call: ModuleCall, info: ModuleInfo) -> Hypothesis | None:
    identity = ModuleInfo(
        info.name,
        "Identity",
        "torch.nn.modules.linear.Identity",
        training=info.training,
    )
    made = installed(
        case, info, "nn.Identity()", identity, "omit", f"without the {info.type}"
    )
    if made is None or not call.outputs or not call.inputs:
        return made
    before, after = call.inputs[0].shape, call.outputs[0].shape
    if before == after:
        return None
    return replace(made, reason=f"makes {after} of {before}")


def unflattened(case: Case) -> Iterator[Hypothesis | None]:
    """A flatten missing between two layers of one nn.Sequential: no call takes the
    tensor that the user's code could edit, but the container's line can hold a layer.
    """
    layer = case.layer
    if layer is None or not layer.inputs:
        return
    ref = layer.inputs[0]
    if len(ref.shape) < 3 or case.written(layer, ref.id) is not None:
        return
    owner, _, position = layer.name.rpartition(".")
    info = case.graph.rec.modules.get(owner)
    own = case.graph.rec.modules.get(layer.name)
    if info is None or own is None or info.type != "Sequential":
        return
    edit = edits.flatten(1)
    taken = Taken(ref.id, edit, layer.order, layer.end_order or layer.order)
    built = case.graph.constructions.of(layer.name)
    text, where = "", None
    if built is not None:
        line = line_of(built.made.scope.tree, built.call)
        flat = line.spelled("nn.Flatten()")
        text, where = line.around(f"{flat}, {line.code}"), line.source
    elif constructor(own) is not None:
        text = (
            f"{case.path(layer.name)} = nn.Sequential(nn.Flatten(), {constructor(own)})"
        )
    yield Hypothesis(
        "insert",
        site_of_module(layer),
        Repair(taken=(taken,)),
        0,
        text,
        where,
        "joins all dimensions but the batch",
        reason=f"takes {ref.shape} as it came from the layer before it",
        edit=edit,
    )
