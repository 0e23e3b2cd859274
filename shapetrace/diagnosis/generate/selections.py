"""What one side had done to it and the other has not: rows picked by a mask, entries
repeated, dimensions joined, a sequence cut before it was joined; and the last step
taken where labels are for every one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.generate.own_calls import own_calls
from shapetrace.diagnosis.hypothesis import (
    Form,
    Hypothesis,
    Repair,
    Site,
    Taken,
)
from shapetrace.diagnosis.repair import edits
from shapetrace.diagnosis.repair.changes import (
    edited,
    edited_at,
    expression,
    method,
    recalled,
)
from shapetrace.diagnosis.repair.edits import Edit
from shapetrace.diagnosis.sites import (
    owner,
    site_of_call,
    site_of_data,
    site_of_module,
)
from shapetrace.diagnosis.words.reasons import said_of
from shapetrace.records import FunctionCall, ModuleCall, TensorRef
from shapetrace.signatures import is_method, relate
from shapetrace.source.line import find

_VIEWS = ("view", "reshape", "flatten")
_RECURRENT = ("LSTM", "GRU", "RNN")
_LAST_STATE = Edit(
    "{}[-1].unsqueeze(1)",
    lambda t: t[-1].unsqueeze(1),
    "takes the last layer's, for all steps of the other side",
)


def selections(case: Case) -> Iterator[Hypothesis | None]:
    refs = [ref for ref in case.operands if ref.shape][:2]
    for ref, other in zip(refs, reversed(refs)):
        if ref is not other:
            yield _picked(case, other, ref)
            yield from _repeated(case, ref, other)
            yield from _joined(case, ref, other)
    for ref in refs:
        yield _last_state(case, ref)
    yield from _cut_before(case)
    yield from _next_step(case)
    yield _every_step(case)
    if case.target is not None and case.prediction is not None:
        yield from _one_hot_rows(case, case.prediction, case.target)


def _picked(case: Case, picked: TensorRef, whole: TensorRef) -> Hypothesis | None:
    """The rows of one side were picked by a mask or by indices: the same rows of the
    other."""
    call = case.graph.producer(picked.id)
    if not isinstance(call, FunctionCall) or not call.direct or call.name != "getitem":
        return None
    index, line = call.args[1], find(call.source)
    if not isinstance(index, TensorRef) or line is None or not whole.shape:
        return None
    if call.inputs[0].shape[:1] != whole.shape[:1] or not picked.shape:
        return None
    if not isinstance(line.tree, ast.Subscript):
        return None
    shape = (*picked.shape[:1], *whole.shape[1:])
    text = f"{{}}[{line.text(line.tree.slice)}]"
    edit = Edit(text, lambda t: t.new_empty(shape), "picks the same rows")
    found = edited(case, whole, edit)
    return found and replace(found, mirrors=True)


def _last_state(case: Case, ref: TensorRef) -> Hypothesis | None:
    """The state of a recurrent layer's last layer, where the states of all of them meet
    a tensor with the batch first."""
    if len(ref.shape) != 3:
        return None
    made = case.graph.trail(ref.id, 0).end.call  # who counts layers and directions
    layer = case.graph.layer_of(made) if made is not None else None
    if layer is None or layer.type not in _RECURRENT:
        return None
    return edited(case, ref, _LAST_STATE, site=site_of_module(layer))


def _repeated(
    case: Case, ref: TensorRef, other: TensorRef
) -> Iterator[Hypothesis | None]:
    """One side repeated along a dimension, as the other was before they met."""
    for _, made in case.graph.chain(other.id):
        if not isinstance(made, FunctionCall) or not made.outputs or not made.inputs:
            return
        if made.name == "repeat_interleave" and made.direct:
            before, after = made.inputs[0].shape, made.outputs[0].shape
            grown = [d for d, (a, b) in enumerate(zip(before, after)) if a != b]
            if len(grown) == 1 and len(before) == len(after):
                dim = grown[0]
                edit = edits.interleaved(after[dim] // max(before[dim], 1), dim, True)
                site = site_of_call(case.graph, made)
                found = edited(case, ref, edit, site=site)
                reason = f"repeats one side to {after}"
                yield found and replace(found, reason=reason, mirrors=True)
            return


def _joined(
    case: Case, ref: TensorRef, other: TensorRef
) -> Iterator[Hypothesis | None]:
    """Dimensions of one side joined, as those of the other were before they met."""
    for _, made in case.graph.chain(other.id):
        if not isinstance(made, FunctionCall) or not made.outputs or not made.inputs:
            return
        if made.name not in _VIEWS or not made.direct:
            continue
        before = made.inputs[0].shape
        for origin in relate(made).outputs[0]:
            dims = [dim for _, dim in origin.sources]
            if origin.how != "product" or len(dims) < 2:
                continue
            run = tuple(before[dim] for dim in dims)
            for start in range(len(ref.shape) - len(run) + 1):
                if ref.shape[start : start + len(run)] == run:
                    last = start + len(run) - 1
                    end = -1 if last == len(ref.shape) - 1 else last
                    edit = edits.flatten(start, end)
                    site = site_of_call(case.graph, made)
                    found = edited(case, ref, edit, site=site)
                    reason = f"joins {'·'.join(map(str, run))} of one side alone"
                    yield found and replace(found, reason=reason, mirrors=True)
        return


def _cut_before(case: Case) -> Iterator[Hypothesis | None]:
    """A sequence cut to the other side's length before a view joined it with the
    batch."""
    left, right = case.mismatch.left, case.mismatch.right
    if left is None or right is None or not left.size or not right.size:
        return
    for call in own_calls(case):
        if call.name not in _VIEWS or not call.inputs or call is case.call:
            continue
        ref = call.inputs[0]
        fits = any(ref.shape == other.shape for other in case.operands)
        for dim in range(1, len(ref.shape) if not fits else 0):
            end = case.graph.trail(ref.id, dim).end
            if end.kind == "parameter":
                continue  # features of a layer are not to be left out
            for size, wanted in ((left.size, right.size), (right.size, left.size)):
                new, rest = divmod(ref.shape[dim] * wanted, size)
                if not rest and 0 < new < ref.shape[dim]:
                    edit = edits.cut(dim, new, len(ref.shape))
                    site = case.site_of_size(ref.id, dim)
                    yield _cut_view(case, call, ref, edit, "cut", site)


def _next_step(case: Case) -> Iterator[Hypothesis | None]:
    """The input was cut at its end and the target, of the same tensor, was not: cut at
    its front, so that every step is given what comes next."""
    if case.prediction is None or case.target is None:
        return
    takers: dict[int, FunctionCall] = {case.target.id: case.call}
    for _, made in case.graph.chain(case.target.id):
        if isinstance(made, FunctionCall) and made.direct and made.inputs:
            takers.setdefault(made.inputs[0].id, made)
    for _, made in case.graph.chain(case.prediction.id):
        if not isinstance(made, FunctionCall) or made.name != "getitem":
            continue
        taker = takers.get(made.inputs[0].id)
        before, after = made.inputs[0].shape, (made.outputs or made.inputs)[0].shape
        grown = [d for d, (a, b) in enumerate(zip(before, after)) if a != b]
        if taker is None or len(grown) != 1 or len(before) != len(after):
            continue
        ref = next(one for one in taker.inputs if one.id == made.inputs[0].id)
        edit = edits.shifted(grown[0], before[grown[0]] - after[grown[0]])
        site = site_of_data(case.graph, ref.id, target=True)
        found = _cut_view(case, taker, ref, edit, "insert", site)
        yield found and replace(found, mirrors=True)


def _cut_view(
    case: Case,
    call: FunctionCall,
    ref: TensorRef,
    edit: Edit,
    form: Form,
    site: Site,
) -> Hypothesis | None:
    """`x.view(…)` as `x[:, :n].reshape(…)`: what is cut is no longer contiguous."""
    found = edited_at(case, call, ref, edit, form, site)
    if found is None:
        return None
    line = find(call.source)
    node = line.argument("args[0]", is_method(call)) if line is not None else None
    if line is not None and node is not None and isinstance(line.tree, ast.Call):
        func = line.tree.func
        if call.name == "view" and isinstance(func, ast.Attribute):
            inside = edit.text.format(line.text(node))
            whole = line.text(line.tree)
            rest = whole.removeprefix(line.text(func))
            text = line.with_part(line.tree, f"{inside}.reshape{rest}")
            found = replace(found, line=text, where=line.source)
    return replace(found, reason=said_of(case, site, ref))


def _one_hot_rows(
    case: Case, prediction: TensorRef, target: TensorRef
) -> Iterator[Hypothesis | None]:
    """Rows of one number a class, that a view made one long dimension: the numbers of
    their classes instead."""
    call = case.graph.producer(target.id)
    if not isinstance(call, FunctionCall) or call.name not in ("view", "reshape"):
        return
    if call.inputs[0].shape == prediction.shape and len(prediction.shape) == 2:
        yield recalled(
            case,
            call,
            lambda one: method(one, "argmax", 1),
            lambda: expression(call, "{}.argmax(1)"),
            "makes class indices of one-hot rows",
            "values",
            reason="joins rows of one number a class",
        )


def _every_step(case: Case) -> Hypothesis | None:
    """The last layer on the output of every step, the classes permuted to dim 1, where
    labels are for every step: `return self.fc(out).permute(0, 2, 1)`."""
    graph, prediction, target = case.graph, case.prediction, case.target
    if prediction is None or target is None:
        return None
    if case.call.name not in ("cross_entropy", "nll_loss"):
        return None
    a, b = prediction.shape, target.shape
    if len(a) != 2 or len(b) != 2 or a[0] != b[0] or b[1] in (1, a[1]):
        return None
    last, recurrent = _last_step(case, prediction)
    made = graph.producer(prediction.id)
    head = None if made is None else graph.layer_of(made)
    if last is None or recurrent is None or head is None or not last.outputs:
        return None
    info = graph.rec.modules.get(recurrent.name)
    if info is None or not recurrent.outputs or not last.inputs:
        return None
    if last.outputs[0].id not in {ref.id for ref in head.inputs}:
        return None
    before = last.inputs[0].shape
    reason = f"takes {last.outputs[0].shape} of {before}; labels are for {b[1]} steps"
    site = site_of_call(graph, last)
    bare = Hypothesis(
        "omit", site, hops=2, reason=reason, dim=1, size=None, expected=b[1]
    )
    line = find(head.source)
    name = _output(recurrent, head.source.line) if head.source is not None else None
    node = None if line is None else line.argument("args[0]")
    steps = recurrent.outputs[0].shape
    first = bool(info.attributes.get("batch_first"))
    if name is None or line is None or node is None or len(steps) != 3:
        return bare
    if owner(graph, head.inputs[0].id) or steps[-1] != head.inputs[0].shape[-1]:
        return bare
    if not isinstance(line.tree, ast.Call):
        return bare
    order = (0, 2, 1) if first else (1, 2, 0)
    inner = f"{line.text(line.tree.func)}({name})"
    text = line.with_part(line.tree, f"{inner}.permute{order}")
    batch, length = steps[:2] if first else steps[1::-1]
    shape = (batch, a[1], length)
    every = Edit(text, lambda t: t.new_empty(shape))
    order_ = case.call.order
    words = f"applies {graph.spoken(head)} to every step: logits {shape}"
    return replace(
        bare,
        repair=Repair(taken=(Taken(prediction.id, every, order_, order_),)),
        line=text,
        where=line.source,
        words=words,
    )


def _last_step(
    case: Case, prediction: TensorRef
) -> tuple[FunctionCall | None, ModuleCall | None]:
    """The index that chose the last step, and the recurrent layer it chose from."""
    chosen = None
    for _, call in case.graph.chain(prediction.id):
        if isinstance(call, FunctionCall) and call.direct and call.name == "getitem":
            chosen = call
        layer = case.graph.layer_of(call)
        if layer is not None and layer.type in _RECURRENT:
            return chosen, layer
    return None, None


def _output(recurrent: ModuleCall, used: int) -> str | None:
    """The output of every step at line `used`: the name that `out, (h, c) = …` gives
    it, or, where that is bound again as in `_, (h, _) = …`, the layer's call itself."""
    line = find(recurrent.source)
    if line is None:
        return None
    tree = line.file.statement(line.node)
    if not isinstance(tree, ast.Assign) or not isinstance(tree.targets[0], ast.Tuple):
        return None
    bound = [n.id for n in ast.walk(tree.targets[0]) if isinstance(n, ast.Name)]
    first = tree.targets[0].elts[0]
    if isinstance(first, ast.Name) and bound.count(first.id) == 1 and first.id != "_":
        return first.id
    read = {node.id for node in ast.walk(line.tree) if isinstance(node, ast.Name)}
    last = line.source.end_line or line.source.line
    if read & set(bound) or used != last + 1:
        return None  # the same words would mean something else there
    return " ".join(line.code.split()) + "[0]"
