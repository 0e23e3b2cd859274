"""An edit of a tensor for more than the call that failed: wherever the statement names
it, for its like in the statement, or in a statement before it."""

from __future__ import annotations

import ast
from dataclasses import replace

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.hypothesis import EVER, Outcome, Repair, Written
from shapetrace.diagnosis.repair.edits import Edit
from shapetrace.lineage import Call
from shapetrace.records import FunctionCall, ModuleCall, Source, TensorRef
from shapetrace.signatures import is_method, parameter_of
from shapetrace.source.line import Line, find, suffixed
from shapetrace.source.rewrite import rewritten
from shapetrace.source.sizes import tensors_at

#: lines that one fix replaces, at most
_APART = 12


def for_more_uses(
    case: Case,
    call: Call,
    ref: TensorRef,
    edit: Edit,
    repair: Repair,
    outcome: Outcome,
    written: Written,
) -> tuple[Written, Repair, Outcome, str] | None:
    """The edit wherever the statement names the tensor, else in a statement of its own
    before it, where a name is used again and has to be edited for that too; None where
    the one place does, or more do not help. And what to say of it."""
    line, node = tensor_argument(case, call, ref)
    if line is None or node is None:
        return None
    behind = case.replay.read(repair, outcome, *written)
    if behind is None or behind.status == "verified":
        return None
    if not isinstance(node, ast.Name):
        again = _again(line, node, edit) if behind.status == "moved" else None
        found = case.replay.read(repair, outcome, *again) if again else None
        if again is None or found is None or found.status == "moved":
            return None
        return again, repair, found, ", wherever that stands"
    changed = line.spelled(suffixed(node.id, node, edit.text))
    places = line.named(node.id)
    if len(places) > 1:
        text = line.with_parts([(place, changed) for place in places])
        if case.mismatch.silent:
            repair = _throughout(case, repair, line.source)
            outcome = case.replay.start(repair) or outcome
        found = case.replay.read(repair, outcome, text, line.source)
        if found is not None and found.status != "moved":
            return (text, line.source), repair, found, ", wherever the line names it"
    if behind.status != "moved":
        return None
    text = _with_its_like(case, call, ref, line, node, edit)
    found = case.replay.read(repair, outcome, text, line.source) if text else None
    if found is not None and found.status == "verified":
        return (text, line.source), repair, found, ", and its like in the line"
    text = line.inserted(f"{node.id} = {changed}")
    for_all = replace(
        repair,
        taken=tuple(replace(one, last=EVER) for one in repair.taken),
    )
    found = case.replay.read(for_all, outcome, text, line.source)
    # what becomes of another type is of one kind wherever it is used
    typed = found is not None and found.goes and edit.apply(ref).dtype != ref.dtype
    if found is None or found.status != "verified" and not typed:
        return None
    return (text, line.source), for_all, found, ", for all that use it"


def _again(line: Line, node: ast.expr, edit: Edit) -> Written | None:
    """The statements from the first to the last of a function's in which the expression
    stands, with the edit of each; None where it stands in one, or they are far apart.
    """
    code, file = line.text(node), line.file
    parts = [
        (one, line.spelled(suffixed(code, one, edit.text)))
        for one in ast.walk(file.home(node))
        if isinstance(one, type(node)) and file.text(one) == code
    ]
    if len({file.statement(one) for one, _ in parts}) < 2:
        return None
    text, where = rewritten(file, parts)
    length = (where.end_line or where.line) - where.line
    return (text, where) if length < _APART else None


def _throughout(case: Case, repair: Repair, where: Source) -> Repair:
    """The same edits at all calls of a statement that take the tensors."""
    last = where.end_line or where.line
    return replace(
        repair,
        taken=tuple(
            replace(one, first=user.order, last=user.order)
            for one in repair.taken
            for user in case.graph.users.get(one.tensor, ())
            if isinstance(user, FunctionCall)
            and user.source is not None
            and user.source.file == where.file
            and where.line <= user.source.line <= last
        ),
    )


def _with_its_like(
    case: Case, call: Call, ref: TensorRef, line: Line, node: ast.Name, edit: Edit
) -> str:
    """The statement with the edit for all of its variables that hold tensors of one
    shape, `(x - sigma * noise) / alpha` with one of each a sample; "" where there is no
    other."""
    taken = {one.id for one in call.inputs}
    names = [
        name
        for name, other in tensors_at(case.graph.rec, call).items()
        if other.shape == ref.shape and other.id not in taken
    ]
    places = [place for name in names for place in line.named(name)]
    if not places:
        return ""
    return line.with_parts(
        [
            (place, line.spelled(suffixed(place.id, place, edit.text)))
            for place in (*line.named(node.id), *places)
        ]
    )


def tensor_argument(
    case: Case, call: Call, ref: TensorRef
) -> tuple[Line | None, ast.expr | None]:
    """The line of a call, and the expression of one of its tensors in it."""
    line = find(call.source)
    node = None
    if line is not None and isinstance(call, FunctionCall):
        node = line.argument(ref.path, is_method(call))
        name = parameter_of(call, ref)
        if node is None and name:
            node = line.argument(f"kwargs['{name}']")
    elif line is not None and isinstance(call, ModuleCall):
        if case.names_its_input(call, ref.id):
            node = line.argument(ref.path)
    return line, node
