"""Hypotheses made of a change: tried first, and then written as the user would.

A change with which the failing call would fail all the same is no hypothesis: these
functions then give None, and no line is written for it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from shapetrace.diagnosis.case import Case, is_method, parameter
from shapetrace.diagnosis.edits import Edit
from shapetrace.diagnosis.hypothesis import Form, Hypothesis, Repair, Site, Taken
from shapetrace.diagnosis.sites import site_of_call
from shapetrace.lineage import Call
from shapetrace.records import FunctionCall, ModuleCall, ModuleInfo, Source, TensorRef
from shapetrace.source.build_line import placed
from shapetrace.source.construction import Construction
from shapetrace.source.constructor import changed, constructor
from shapetrace.source.line import Line, find, suffixed
from shapetrace.source.sizes import reworded
from shapetrace.source.tree import is_own

#: a statement to paste, and the lines that it replaces
Written = tuple[str, Source | None]
_UNWRITTEN: Written = ("", None)


# -- a tensor, where it is taken -------------------------------------------------------


def edited(
    case: Case,
    ref: TensorRef,
    edit: Edit,
    form: Form = "insert",
    site: Site | None = None,
    once: str = "",
) -> Hypothesis | None:
    """The failing call with one of its tensors edited, where the user wrote it."""
    if site is None:
        sized = edit.sized is not None and edit.sized < len(ref.shape)
        site = (
            case.site_of_size(ref.id, edit.sized or 0)
            if sized
            else case.site_of_missing(ref.id)
        )
    if case.layer is None:
        return edited_at(case, case.call, ref, edit, form, site, once)
    outer = case.written(case.layer, ref.id)
    if outer is None:
        return None
    ref = next(r for r in outer.inputs if r.id == ref.id)
    return edited_at(case, outer, ref, edit, form, site, once)


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
    if isinstance(call, FunctionCall):
        taken = tuple(
            Taken(other.id, edit, one.order, one.order)
            for one in case.alike(call)
            for other in one.inputs
            if other.path == ref.path
        )
    else:
        taken = (Taken(ref.id, edit, call.order, call.end_order),)
    repair = Repair(taken=taken)
    outcome = case.replay.run(repair)
    if outcome is None:
        return None
    text, where, words = *_taken_so(case, call, ref, edit), edit.words
    if outcome.status == "moved" and edit.back is not None and not outcome.broke:
        # the layer on another layout, and what it gives on the former one
        restored = case.replay.run(replace(repair, back=edit.back))
        if restored is not None and restored.status == "verified":
            repair, outcome = replace(repair, back=edit.back), restored
            text, where = _taken_so(case, call, ref, edit, edit.back)
            words += " and back again"
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
        case.said_of(site, ref),
        once=once,
        outcome=outcome,
        edit=edit,
    )


def _taken_so(
    case: Case, call: Call, ref: TensorRef, edit: Edit, back: Edit | None = None
) -> Written:
    """The statement of a call with one of its tensors edited, and `back` done to its
    result; where that is not known, an assignment to what the tensor is called."""
    line = find(call.source)
    node = None
    if line is not None and isinstance(call, FunctionCall):
        node = line.argument(ref.path, is_method(call))
        name = parameter(call, ref)
        if node is None and name:
            node = line.argument(f"kwargs['{name}']")
    elif line is not None and isinstance(call, ModuleCall):
        if case.names_its_input(call, ref.id):
            node = line.argument(ref.path)
    if line is not None and node is not None:
        text = line.spelled(suffixed(line.text(node), node, edit.text))
        if back is None:
            return line.with_part(node, text), line.source
        whole = line.code.replace(line.text(node), text, 1)
        return line.around(suffixed(whole, line.tree, back.text)), line.source
    if line is None or call in (case.call, case.layer, case.root()):
        name = case.role(ref)
        return f"{name} = {suffixed(name, None, edit.text)}", None
    return _UNWRITTEN


def result_edited(
    case: Case, call: FunctionCall, edit: Edit, form: Form = "insert"
) -> Hypothesis | None:
    """A call of the user's with its result edited, for all that take it."""
    line = find(call.source)
    if line is None or not call.direct or not call.outputs:
        return None
    repair = Repair(
        taken=tuple(
            Taken(one.outputs[0].id, edit) for one in case.alike(call) if one.outputs
        )
    )
    outcome = case.replay.run(repair)
    if outcome is None:
        return None
    return Hypothesis(
        form,
        site_of_call(case.graph, call),
        repair,
        case.hops(call.outputs[0].id),
        line.around(line.spelled(suffixed(line.code, line.tree, edit.text))),
        line.source,
        edit.words,
        edit.loses,
        case.given(call.outputs[0].id),
        outcome=outcome,
        edit=edit,
    )


# -- a module, where it is built -------------------------------------------------------


def rebuilt(
    case: Case, name: str, changes: dict[str, Any], form: Form, words: str = ""
) -> Hypothesis | None:
    """A module built with other arguments, and with it all that its line builds."""
    info = case.graph.rec.modules.get(name)
    if info is None:
        return None
    if not words:
        key, value = next(iter(changes.items()))
        words = f"{key}={value} instead of {info.attributes.get(key)}"
    made = case.constructions.of(name)
    if made is None:
        text = constructor(info, **changes)
        return installed(case, info, text, changed(info, **changes), form, words)
    names = case.constructions.built_by(made) or (name,)
    new = {one: changed(case.graph.rec.modules[one], **changes) for one in names}
    modules = {one: info for one, info in new.items() if info is not None}
    repair = Repair(modules=modules) if len(modules) == len(new) else None
    outcome = None if repair is None else case.replay.run(repair)
    if repair is not None and outcome is None:
        return None
    if len(names) > 1 and outcome is not None and outcome.broke:
        # the line is right for the others that it builds
        text = constructor(info, **changes)
        alone = installed(case, info, text, changed(info, **changes), form, words)
        if alone is not None and alone.outcome and alone.outcome.status == "verified":
            return alone
    texts = {key: _argument(case, made, key, value) for key, value in changes.items()}
    line, where = made.changed(**texts) or _UNWRITTEN
    if not line and len(names) == 1:
        whole = constructor(info, **changes)
        if whole is not None and name:
            line, where = placed(case.graph.rec, info, whole)
    if len(names) > 1:
        words += f", in all {len(names)} that the line builds"
    return Hypothesis(
        form,
        case.site_named(name),
        repair,
        case.hops_to(name),
        line,
        where,
        words,
        outcome=outcome,
    )


def _argument(case: Case, made: Construction, key: str, value: Any) -> str:
    """A new value in the words that the old one was written in."""
    old = made.argument(key)
    if old is not None and type(value) is int:
        return reworded(old, value, case.constructions.scopes)
    if isinstance(value, (tuple, list)) and len(set(value)) == 1:
        value = value[0]
    return repr(value)


def installed(
    case: Case,
    info: ModuleInfo,
    text: str | None,
    new: ModuleInfo | None,
    form: Form,
    words: str,
) -> Hypothesis | None:
    """`text` where the module is built, which then is `new`."""
    repair = None if new is None else Repair(modules={info.name: new})
    outcome = None if repair is None else case.replay.run(repair)
    if repair is not None and outcome is None:
        return None
    line, where = _UNWRITTEN
    if text is not None and info.name:
        line, where = placed(case.graph.rec, info, text)
    return Hypothesis(
        form,
        case.site_named(info.name),
        repair,
        case.hops_to(info.name),
        line,
        where,
        words,
        outcome=outcome,
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
        made = new(one)
        if made is not None:
            calls[one.index] = made
    if call.index not in calls:
        return None
    repair = Repair(calls=calls)
    outcome = case.replay.run(repair)
    if outcome is None:
        return None
    line, where = write() or _UNWRITTEN
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
