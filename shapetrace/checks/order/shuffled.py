"""Samples and labels that were shuffled apart: by two permutations, or one side
alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from shapetrace.checks.finding.context import SAME_VALUES, CheckContext, plain
from shapetrace.checks.finding.registry import Check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.fixes.lines import at, indexed
from shapetrace.records import Diagnosis, FunctionCall, TensorRef
from shapetrace.signatures import kind

#: calls between data and a loss that are looked at
_MOST = 512


class Order(NamedTuple):
    """The permutation by which rows of data were picked, None for rows as they are, and
    the call that did."""

    permutation: FunctionCall | None
    rows: int
    call: FunctionCall | None


def shuffled_apart(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    if not context.calls("randperm"):
        return
    for loss in context.losses:
        sides = context.sides.get(loss.index)
        if sides is None or sides[1] is None:
            continue
        given, labels = sides[0], sides[1]
        if given.shape[:1] != labels.shape[:1]:
            continue
        one, two = (_order(context, ref) for ref in (given, labels))
        if one is None or two is None or one.rows != two.rows:
            continue
        # labels alone are shuffled on purpose, to see what can be learned of noise
        if one.call is None or one.permutation == two.permutation:
            continue
        yield _apart(context, rule, loss, (given, labels), one, two)


def _order(context: CheckContext, ref: TensorRef) -> Order | None:
    """In which order a side's samples come; None where there are several, or it is not
    known."""
    found: dict[int | None, Order] = {}
    todo, seen = [ref.id], {ref.id}
    while todo:
        if len(seen) > _MOST:
            return None
        tensor = todo.pop()
        call = context.made_by(tensor)
        if call is None or not call.inputs:
            if context.graph.is_parameter(tensor):
                continue
            shape = context.graph.tensors[tensor].shape
            if call is not None and kind(call.name) in ("fill", "count"):
                return None
            found[None] = Order(None, shape[0] if shape else 0, None)
            continue
        index = _index(call)
        if index is not None:
            permutation = _permutation(context, index)
            if permutation is None or not context.is_raw_data(call.inputs[0].id):
                return None
            rows = call.inputs[0].shape[0]
            found[permutation.index] = Order(permutation, rows, call)
            continue
        new = [one.id for one in call.inputs if one.id not in seen]
        todo += new
        seen.update(new)
    return next(iter(found.values())) if len(found) == 1 else None


def _index(call: FunctionCall) -> TensorRef | None:
    """The tensor by which a call picks rows."""
    if call.name == "getitem" and len(call.args) == 2:
        given = call.args[1]
        return given if isinstance(given, TensorRef) else None
    if call.name == "index_select" and call.args[1:2] == (0,):
        return call.inputs[-1]
    return None


def _permutation(context: CheckContext, index: TensorRef) -> FunctionCall | None:
    """The `randperm` that an index, or a part of it, comes from."""
    call = context.made_by(index.id)
    while call is not None and call.inputs and plain(call.name) in SAME_VALUES:
        call = context.made_by(call.inputs[0].id)
    return call if call is not None and call.name == "randperm" else None


def _apart(
    context: CheckContext,
    rule: Check,
    loss: FunctionCall,
    sides: tuple[TensorRef, TensorRef],
    one: Order,
    two: Order,
) -> Diagnosis:
    assert one.call is not None and one.permutation is not None
    how = "as they are"
    if two.permutation is not None:
        how = f"in that of {two.permutation.source}"
    reasons = ("takes samples in an order of its own", "takes labels in another order")
    calls = [call for call in (two.call, one.call) if call is not None]
    fix = None
    _, node = at(one.call, "args[1]")
    if two.call is not None:
        if isinstance(node, ast.Name):
            fix = indexed(two.call, node.id, "")
    return finding(
        context,
        rule,
        loss,
        f"{loss.name} compares samples in the order of {one.permutation.source} with "
        f"labels {how}: they do not belong to each other.",
        culprits=[
            culprit(context, call, reasons[call is not one.call]) for call in calls
        ],
        fixes=[fix or "take samples and labels by one permutation"],
        shapes=[("prediction", sides[0], 0), ("target", sides[1], 0)],
        way=(sides[1].id, 0),
    )
