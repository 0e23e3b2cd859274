"""Scores of attention that are multiplied by what they should be divided by."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import islice
from math import isclose, sqrt
from typing import NamedTuple

from shapetrace.checks.facts.arguments import softmax_dim
from shapetrace.checks.facts.following import kept, summed_over
from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.lineage import Call
from shapetrace.records import Diagnosis, Fix, FunctionCall, TensorRef
from shapetrace.signatures import kind
from shapetrace.source.line import find
from shapetrace.source.tree import last_name

_PRODUCTS = ("product", "batch_product")
#: what hands scores, queries and keys on, number for number
_HANDS_ON = "sum mask cast copy view transpose unit expand repeat".split()
#: what makes queries and keys: behind it they are something else
_MAKES = ("linear", "convolution", "embedding", *_PRODUCTS)
_NORMS = ("norm", "unit_length", "reduce")
#: steps between a product and the softmax, and calls between it and what makes queries
_NEAR, _FAR = 12, 64


class Scaled(NamedTuple):
    """A product of queries and keys, and the calls that multiply it, or either of them,
    by a number."""

    product: FunctionCall
    calls: list[FunctionCall]


@check(
    "attention-scale",
    "warning",
    "attention scores are multiplied by the square root of the size that they are "
    "divided by elsewhere: the softmax is nearly one-hot, and hardly learns",
)
def attention_scale(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    for softmax in context.calls("softmax"):
        if softmax_dim(softmax) is None or summed_over(context, softmax) is None:
            continue
        scaled = _scores(context, softmax.inputs[0])
        size = None if scaled is None else _contracted(context, scaled.product)
        if scaled is None or size is None or size < 2:
            continue
        factor = 1.0
        for call in scaled.calls:
            factor *= _factor(call) or 1.0
        odd = [one for one in scaled.calls if isclose(_factor(one) or 0, sqrt(size))]
        if not odd or not isclose(factor, sqrt(size), rel_tol=1e-4):
            continue
        if any(_normed(context, ref) for ref in scaled.product.inputs[:2]):
            continue
        call = odd[0]
        yield finding(
            context,
            rule,
            call,
            f"{call.name} multiplies the scores by {factor:.3g}, the square root of "
            f"the {size} features that each is a sum over: to divide by it was meant.",
            culprits=[
                culprit(context, call, "scales the wrong way"),
                culprit(context, scaled.product, f"sums over {size} features"),
            ],
            fixes=[_other_way(call)],
            shapes=[("scores", call.inputs[0], None)],
            way=(call.inputs[0].id, None),
        )


def _scores(context: CheckContext, ref: TensorRef) -> Scaled | None:
    """The product behind a softmax; None where a tensor scales its scores, or anything
    else is done to them."""
    calls, product = _numbers(context, ref)
    if product is None or kind(product.name) not in _PRODUCTS:
        return None
    for one in product.inputs[:2]:
        calls += _numbers(context, one)[0]
    return Scaled(product, calls)


def _numbers(
    context: CheckContext, ref: TensorRef
) -> tuple[list[FunctionCall], FunctionCall | None]:
    """The calls that multiply a tensor by a number, and the first call behind it that
    does more than hand its numbers on."""
    found: list[FunctionCall] = []
    call = context.made_by(ref.id)
    for _ in range(_NEAR):
        if call is None or not call.inputs:
            return found, call
        if _factor(call) is not None:
            found.append(call)
        elif kind(call.name) not in _HANDS_ON:
            return found, call
        made = (call.outputs or ())[0]
        alike = [one for one in call.inputs if one.shape == made.shape]
        call = context.made_by((alike or call.inputs)[0].id)
    return found, None


def _factor(call: FunctionCall) -> float | None:
    """The number that a call multiplies its tensor by."""
    if kind(call.name) != "scale" or len(call.inputs) != 1 or len(call.args) < 2:
        return None
    number = call.args[1]
    if not isinstance(number, (int, float)) or not number:
        return None
    return number if plain(call.name).startswith("mul") else 1 / number


def _contracted(context: CheckContext, product: FunctionCall) -> int | None:
    """The size of the one dimension that a product sums over."""
    dims = kept(context, product, 0)
    if dims is None:
        return None
    shape = product.inputs[0].shape
    lost = set(range(len(shape))) - {dim for group in dims for dim in group}
    return shape[lost.pop()] if len(lost) == 1 else None


def _normed(context: CheckContext, ref: TensorRef) -> bool:
    """Whether queries or keys are brought to one length: such scores are enlarged."""

    def before(call: Call) -> tuple[TensorRef, ...]:
        return () if kind(call.name) in _MAKES else call.inputs

    behind = islice(context.graph.behind(ref.id, before), _FAR)
    return any(call is not None and kind(call.name) in _NORMS for _, call in behind)


def _other_way(call: FunctionCall) -> Fix | None:
    """The line that divides by a number in place of multiplying by it, or the other way
    round; None where it is not plain which side is the number."""
    line = find(call.source)
    if line is None or not isinstance(line.tree, ast.BinOp):
        return None
    left, right = line.tree.left, line.tree.right
    if isinstance(line.tree.op, ast.Div):
        sign = "*"
    elif isinstance(line.tree.op, ast.Mult) and _is_number(right):
        sign = "/"
    else:
        return None
    scores, number = line.text(left), line.text(right)
    if isinstance(left, ast.BinOp) and isinstance(left.op, (ast.Add, ast.Sub)):
        scores = f"({scores})"
    if isinstance(right, ast.BinOp):
        number = f"({number})"
    return Fix(line.around(f"{scores} {sign} {number}"), where=line.source)


def _is_number(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return last_name(node.func) == "sqrt"
    power = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)
    return power or isinstance(node, ast.Constant)
