"""Hypotheses made of a change: tried first, and then written as the user would.

A change with which the failing call would fail all the same is no hypothesis: these
functions then give None, and no line is written for it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.hypothesis import (
    UNWRITTEN,
    Form,
    Hypothesis,
    Outcome,
    Repair,
    Site,
    Taken,
    Written,
)
from shapetrace.diagnosis.repair.edited_dims import undoes
from shapetrace.diagnosis.repair.edits import Edit
from shapetrace.diagnosis.repair.more_uses import for_more_uses, tensor_argument
from shapetrace.diagnosis.sites import (
    maker_of_one,
    owner,
    site_of_call,
    site_of_data,
    site_of_maker,
    site_of_tensor,
    without_lost,
)
from shapetrace.diagnosis.sizes.needed import needed_elsewhere
from shapetrace.diagnosis.words.reasons import given, said_of
from shapetrace.lineage import Call
from shapetrace.records import FunctionCall, ModuleCall, TensorRef
from shapetrace.signatures import is_method, parameter_of
from shapetrace.signatures.kinds import kind
from shapetrace.source.library_calls import called_around
from shapetrace.source.line import Line, find, suffixed
from shapetrace.source.tree import is_own, last_name

# -- a tensor, where it is taken -------------------------------------------------------


def edited(
    case: Case,
    ref: TensorRef,
    edit: Edit,
    form: Form = "insert",
    site: Site | None = None,
) -> Hypothesis | None:
    """The failing call with one of its tensors edited, where the user wrote it."""
    made = case.graph.producer(ref.id)
    if isinstance(made, FunctionCall) and undoes(edit, made):
        if len(case.graph.users.get(ref.id, ())) == 1:
            found = result_edited(case, made, edit, form)  # by leaving it out
            if found is not None:
                return found
    site = site or _site(case, ref, edit)
    if case.layer is None:
        return edited_at(case, case.call, ref, edit, form, site)
    outer = case.written(case.layer, ref.id)
    if outer is None:
        return None
    ref = next(r for r in outer.inputs if r.id == ref.id)
    return edited_at(case, outer, ref, edit, form, site)


def _other_space(call: Call, ref: TensorRef, edit: Edit) -> bool:
    """Whether a function is told by the number of dimensions what is space: with
    another number it goes well too, and works over other dimensions."""
    if not isinstance(call, FunctionCall):
        return False
    if call.name != "interpolate" and kind(call.name) not in ("convolution", "pool"):
        return False
    return len(edit.apply(ref).shape) != len(ref.shape)


def _site(case: Case, ref: TensorRef, edit: Edit) -> Site:
    """Who is to be told of an edit: who gave the dimension its size that is changed,
    or whoever takes the tensor as it is."""
    if edit.sized is not None and edit.sized < len(ref.shape):
        site = case.site_of_size(ref.id, edit.sized)
        if site.kind == "function" and site.key in needed_elsewhere(case):
            return site_of_call(case.graph, case.call)  # as it is, others take it
        if site.kind == "input" and case.target and ref.id == case.target.id:
            # of data that the model is given too: here it is what a loss compares with
            return site_of_data(case.graph, ref.id, target=True)
        return site
    given = _site_of_reduced(case, ref, edit)
    if given is not None:
        return given
    target = case.mismatch.loss and case.target and ref.id == case.target.id
    if target and len(edit.apply(ref).shape) > len(ref.shape):
        site = case.site_of(ref.id)
        if site.kind == "function" and not case.graph.from_model(ref.id):
            at = without_lost(case.graph, ref.id)
            return site_of_tensor(case.graph, at, target=True)
    if edit.removes is not None and case.mismatch.silent:
        maker = maker_of_one(case.graph, ref.id, edit.removes)
        if maker is not None:
            return site_of_maker(case.graph, maker)
        return case.site_of(ref.id)
    if edit.removes is not None and case.target and ref.id == case.target.id:
        end = case.graph.trail(ref.id, edit.removes % len(ref.shape)).end
        name = owner(case.graph, end.tensor) if end.kind == "parameter" else None
        if name is not None:  # of a target that a model gave, the layer makes it
            return case.site_named(name)
    return case.site_of_missing(ref.id)


def _site_of_reduced(case: Case, ref: TensorRef, edit: Edit) -> Site | None:
    """Who gave the dimension that an edit sums up, or takes one entry of, where that is
    data: channels of which there is one too many."""
    if edit.removes is None or case.graph.from_model(ref.id):
        return None
    dim = edit.removes % max(len(ref.shape), 1)
    if dim >= len(ref.shape) or ref.shape[dim] < 2:
        return None
    trail = case.graph.trail(ref.id, dim)
    if trail.end.kind != "data":
        return None
    target = case.is_target(ref.id)
    return site_of_data(case.graph, trail.end.tensor, target=target)


def edited_at(
    case: Case,
    call: Call,
    ref: TensorRef,
    edit: Edit,
    form: Form = "insert",
    site: Site | None = None,
    once: str = "",
) -> Hypothesis | None:
    """A call of the user's with one of its tensors edited, there and at every call of
    the same line."""
    if call is not case.call and _other_space(call, ref, edit):
        return None
    if isinstance(call, FunctionCall):
        taken = tuple(
            Taken(other.id, edit, one.order, one.order)
            for one in case.alike(call)
            for other in one.inputs
            if other.path == ref.path
        )
    else:
        path = next((one.path for one in call.inputs if one.id == ref.id), "")
        taken = tuple(
            Taken(other.id, edit, one.order, one.end_order)
            for one in case.calls_of_line(call)
            for other in one.inputs
            if other.path == path
        )
    repair = Repair(taken=taken)
    outcome = Outcome("untried") if edit.values else case.replay.start(repair)
    if outcome is None:
        return None
    text, where, words = *_taken_so(case, call, ref, edit), edit.words
    if form == "reduce":
        words += f": {edit.apply(ref).shape}"
    if edit.back is not None and not outcome.broke:
        # the layer on another layout, and what it gives on the former one
        behind = case.replay.read(repair, outcome)
        restored = None
        # a normalisation gives what it takes: what follows is written for that layout
        if kind(case.call.name) == "norm" or (behind and behind.status == "moved"):
            restored = case.replay.run(replace(repair, back=edit.back))
        if restored is not None and restored.status == "verified":
            repair = replace(repair, back=edit.back)
            outcome = case.replay.start(repair)
            text, where = _taken_so(case, call, ref, edit, edit.back)
            words += " and back again"
    elif text and where is not None:
        kept = for_more_uses(case, call, ref, edit, repair, outcome, (text, where))
        if kept is not None:
            (text, where), repair, outcome, further = kept
            words += further
    if text and where is None and call.source is not None and is_own(call.source):
        words += f"; before {call.source}, by the name it has there"
    site = site or case.site_of(ref.id)
    return Hypothesis(
        form,
        site,
        repair,
        case.hops(ref.id),
        text,
        where,
        words,
        edit.loses,
        said_of(case, site, ref, edit.sized),
        once=once,
        outcome=outcome,
        edit=edit,
    )


def _taken_so(
    case: Case, call: Call, ref: TensorRef, edit: Edit, back: Edit | None = None
) -> Written:
    """The statement of a call with one of its tensors edited, and `back` done to its
    result; where that is not known, an assignment to what the tensor is called."""
    line, node = tensor_argument(case, call, ref)
    if line is not None and node is not None:
        text = line.spelled(suffixed(line.text(node), node, edit.text))
        if back is None:
            return line.with_part(node, text), line.source
        whole = line.code.replace(line.text(node), text, 1)
        return line.around(suffixed(whole, line.tree, back.text)), line.source
    if line is None:
        if call.source is not None and not is_own(call.source):
            return UNWRITTEN  # a library's line, where the user's names do not reach
        name = case.role(ref)
        return f"{name} = {suffixed(name, None, edit.text)}", None
    starred = line.with_starred(ref.path, lambda item: edit.text.format(item))
    if starred is not None and back is None and isinstance(call, ModuleCall):
        return line.spelled(starred), line.source
    held = _held_by_loss(call, ref, line)
    if held is not None:
        code = f"{held} = {line.spelled(edit.text.format(held))}"
        return line.inserted(code), line.source
    return UNWRITTEN  # it has no name there


def _held_by_loss(call: Call, ref: TensorRef, line: Line) -> str | None:
    """`criterion.weight`: weights that a loss module was made with, by the name that
    the module has where it is called."""
    if not isinstance(call, FunctionCall) or not isinstance(line.tree, ast.Call):
        return None
    name, func = parameter_of(call, ref), line.tree.func
    if name not in ("weight", "pos_weight") or last_name(func) == call.name:
        return None
    return (
        f"{line.text(func)}.{name}"
        if isinstance(func, ast.Name | ast.Attribute)
        else None
    )


def result_edited(
    case: Case, call: FunctionCall, edit: Edit, form: Form = "insert"
) -> Hypothesis | None:
    """A call of the user's with its result edited, for all that take it."""
    line = find(call.source)
    if line is None or not call.direct or not call.outputs or call.name == "setitem":
        return None  # an assignment has no result
    made, inside = call.outputs[0], called_around(call) is not None
    users = case.graph.users.get(made.id, ())
    if inside and any(one.source == call.source for one in users):
        return None  # the line gives what a library goes on to make of it
    if any(_other_space(one, made, edit) for one in users):
        return None
    repair = Repair(
        taken=tuple(
            Taken(one.outputs[0].id, edit) for one in case.alike(call) if one.outputs
        )
    )
    outcome = case.replay.start(repair)
    if outcome is None:
        return None
    site = _site_of_reduced(case, made, edit)
    if case.mismatch.silent:
        site = _site(case, made, edit)
    text, words = suffixed(line.code, line.tree, edit.text), edit.words
    undone = undoes(edit, call) and not inside
    node = line.argument("args[0]", is_method(call)) if undone else None
    if node is not None:
        text, words = line.text(node), f"leaves `{call.name}` out"
    return Hypothesis(
        form,
        site or case.site_of_result(call, made.id),
        repair,
        case.hops(made.id),
        line.around(line.spelled(text)),
        line.source,
        words,
        edit.loses,
        said_of(case, site, made) if site is not None else given(case, made.id),
        outcome=outcome,
        edit=edit,
    )


# -- a function's call -----------------------------------------------------------------


def recalled(
    case: Case,
    call: FunctionCall,
    new: Callable[[FunctionCall], FunctionCall | None],
    write: Callable[[], Written | None],
    words: str,
    form: Form,
    loses: str = "",
    once: str = "",
    reason: str = "",
) -> Hypothesis | None:
    """Another call in the place of one of the user's, and of those of its line."""
    calls: dict[int, FunctionCall] = {}
    for one in case.alike(call):
        if len(calls) > case.replay.most_of_one:
            break  # no more are walked again
        made = new(one)
        if made is not None:
            calls[one.index] = made
    if call.index not in calls:
        return None
    repair = Repair(calls=calls)
    outcome = case.replay.start(repair)
    if outcome is None:
        return None
    line, where = write() or UNWRITTEN
    return Hypothesis(
        form,
        site_of_call(case.graph, call),
        repair,
        case.hops(call.outputs[0].id) if call.outputs else 0,
        line,
        where,
        words,
        loses,
        reason,
        once=once,
        outcome=outcome,
    )


def method(call: FunctionCall, name: str, *args: Any) -> FunctionCall:
    """The recorded call with another method of the same first tensor."""
    first = replace(call.inputs[0], path="args[0]")
    return replace(
        call,
        name=name,
        qualname=f"torch.Tensor.{name}",
        inputs=(first,),
        args=(first, *args),
        kwargs={},
    )


def expression(call: FunctionCall, template: str) -> Written | None:
    """The user's statement with `template` around the object of a call; None where it
    cannot be read."""
    line = find(call.source)
    node = None if line is None else line.argument("args[0]", is_method(call))
    if line is None or node is None:
        return None
    return line.around(suffixed(line.text(node), node, template)), line.source


def with_argument(
    call: FunctionCall, paths: tuple[str, ...], value: str
) -> Written | None:
    """The user's statement with one argument of a call replaced; `paths` are its
    possible places."""
    line: Line | None = find(call.source)
    if line is None:
        return None
    for path in paths:
        node = line.argument(path, is_method(call))
        if isinstance(node, ast.expr):
            return line.with_part(node, value), line.source
    return None
