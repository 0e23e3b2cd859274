"""Stretched operands that are meant: matrices of all pairs, rows for all, weights."""

from __future__ import annotations

from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.lineage.dimensions import DATA
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.signatures import losses_that, named

#: calls that make a matrix of all pairs, of two batches or of one with itself
_PRODUCTS = named("product", "batch_product", "linear") | {"cdist", "eye"}
#: those of them that add to a matrix which is there
_ADDING = ("addmm", "baddbmm")
#: steps from a sum of norms to the matrix it belongs to
_NEAR = 6
#: calls by which the code puts a dimension of 1 where it wants one
_PUTS_ONE = frozenset(("unsqueeze", "getitem"))
#: torch's losses that stretch their operands and say nothing
_QUIET = frozenset(
    "kl_div poisson_nll_loss gaussian_nll_loss soft_margin_loss "
    "multilabel_soft_margin_loss".split()
)


def meets_matrix(context: CheckContext, call: FunctionCall) -> bool:
    """Whether what a call makes is put together with a matrix of its shape that a
    product, distances or the data made: `a2 + b2 - 2 * a @ b.T`, a mask of pairs."""
    made = (call.outputs or ())[0]
    seen, todo = {made.id}, [(made.id, 0)]
    while todo:
        tensor, steps = todo.pop()
        for user, ref in context.follow(tensor):
            if plain(user.name) in _ADDING:
                return True
            if ref.shape != made.shape or steps >= _NEAR:
                continue
            others = [
                one
                for one in user.inputs
                if one.id not in seen and one.shape == made.shape
            ]
            if any(_is_matrix(context, one, seen) for one in others):
                return True
            if ref.id not in seen:
                seen.add(ref.id)
                todo.append((ref.id, steps + 1))
    return False


def _is_matrix(context: CheckContext, ref: TensorRef, seen: set[int]) -> bool:
    """Whether a tensor, or what it was made of element by element, was one at once."""
    known, todo = set(seen), [ref]
    while todo:
        one = todo.pop()
        if one.id in known or one.shape != ref.shape or len(one.shape) < 2:
            continue
        known.add(one.id)
        call = context.made_by(one.id)
        if call is None:
            return context.axes.descends(one.id, DATA)
        if plain(call.name) in _PRODUCTS:
            return True
        if any(len(given.shape) > len(one.shape) for given in call.inputs):
            return True  # of features of all pairs: sides of boxes that overlap
        if _crossed(one, call.inputs):
            return True
        todo += call.inputs
    return False


def _crossed(made: TensorRef, given: tuple[TensorRef, ...]) -> bool:
    """Whether a column meets a row, each with a dimension of 1 that its code put there:
    `a[:, None] - b[None]` is a matrix of all pairs, and no accident."""
    ones = [
        {dim for dim, size in enumerate(ref.shape) if size == 1 < made.shape[dim]}
        for ref in given
        if len(ref.shape) == len(made.shape)
    ]
    return len(ones) == len(given) == 2 and all(ones) and not ones[0] & ones[1]


def of_pairs(context: CheckContext, call: FunctionCall) -> bool:
    """Whether what a call makes is looked at as a matrix of pairs, `(N, N, features)`:
    later calls take its first two dimensions as they are, and one number, or others,
    for each pair."""
    made = (call.outputs or ())[0]
    todo, seen = [made], {made.id}
    while todo:
        for user, out in context.follow(todo.pop().id):
            if out.shape == made.shape:
                if out.id not in seen:
                    seen.add(out.id)
                    todo.append(out)
            elif out.shape[:2] == made.shape[:2] and len(made.shape) > 2:
                if len(out.shape) < len(made.shape) or user.name == "linear":
                    return True
    return False


def one_for_all(loss: FunctionCall, ref: TensorRef, other: TensorRef) -> bool:
    """Whether a loss compares every row with one and the same, on purpose: a prior of
    the classes, one target for all members of an ensemble."""
    if loss.name not in _QUIET:
        return False
    core = ref.shape
    while core and core[0] == 1:
        core = core[1:]
    if not core or other.shape[len(other.shape) - len(core) :] != core:
        return False
    # a batch of as many samples as there are classes may be either, but the target of
    # kl_div is a distribution
    return loss.name == "kl_div" or other.shape[0] != core[0]


def all_pairs(
    context: CheckContext, loss: FunctionCall, ref: TensorRef, other: TensorRef
) -> bool:
    """Whether the code itself has put the dimensions of 1 that are stretched: in both
    operands, as every quantile is compared with every other one, or in an embedding
    that is compared with several."""
    if len(ref.shape) != len(other.shape):
        return False
    ones = [_stretched_ones(one, two) for one, two in ((ref, other), (other, ref))]
    if not all(
        _put_there(context, one, dim)
        for one, dims in zip((ref, other), ones, strict=True)
        for dim in dims
    ):
        return False
    return all(ones) or loss.name in losses_that(takes="embeddings")


def _stretched_ones(one: TensorRef, two: TensorRef) -> list[int]:
    sizes = zip(one.shape, two.shape, strict=True)
    return [dim for dim, (a, b) in enumerate(sizes) if a == 1 and b > 1]


def _put_there(context: CheckContext, ref: TensorRef, dim: int) -> bool:
    end = context.graph.trail(ref.id, dim).end
    return (
        end.kind == "new" and end.call is not None and plain(end.call.name) in _PUTS_ONE
    )


def is_weight(context: CheckContext, tensor: int) -> bool:
    """Whether a tensor from outside is learned and goes into no module: a bias of the
    script, thresholds, and no data that a gradient is wanted for."""
    origin = context.graph.origin(tensor)
    if origin is None or not origin.requires_grad:
        return False
    seen, todo = {tensor}, [tensor]
    while todo:
        at = todo.pop()
        if at in context.module_inputs:
            return False
        new = {made.id for _, made in context.follow(at)} - seen
        seen |= new
        todo += new
    return True
