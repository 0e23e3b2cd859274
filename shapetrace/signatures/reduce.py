"""Reductions, and what picks some places along a dimension."""

from __future__ import annotations

from typing import Any

from shapetrace.records import TensorRef
from shapetrace.signatures.answer import (
    Answer,
    Dim,
    Unknown,
    all_same,
    made,
    of,
    out_of_range,
    same,
    wrap,
)
from shapetrace.signatures.binding import Bound, Operand, Shape
from shapetrace.signatures.broadcasting import spread
from shapetrace.signatures.registry import rule
from shapetrace.signatures.relation import Conflict, Side

#: the result's values and their indices
_PAIRS = frozenset("max min median nanmedian mode kthvalue aminmax".split())


def _bad_dim(op: Operand, named: Any) -> Answer | None:
    """The conflict of a dimension that the input does not have."""
    many = named if isinstance(named, (tuple, list)) else (named,)
    span = max(len(op.shape), 1)
    for dim in many:
        if isinstance(dim, int) and not -span <= dim < span:
            conflict = out_of_range("input", op.pos, dim, len(op.shape))
            return Answer(conflicts=[conflict])
    return None


def _kept(pos: int, shape: Shape, named: list[int] | None, keepdim: bool) -> list[Dim]:
    """What a reduction over the named dimensions leaves; None: over all."""
    dims: list[Dim] = []
    for d, size in enumerate(shape):
        if named is not None and d not in named:
            dims.append(same(pos, d, size))
        elif keepdim:
            dims.append(made("new", 1, "keepdim"))
    return dims


def _reduced(b: Bound, default: int | None = None) -> Answer:
    """A reduction whose dimensions are the argument `dim`."""
    op = b.need("input")
    given = b.value("dim", default)
    wrong = _bad_dim(op, given)
    if wrong is not None:
        return wrong
    named = b.dims("dim", len(op.shape))
    if named is None and default is not None:
        named = [wrap(default, len(op.shape))]
    dims = _kept(op.pos, op.shape, named, b.flag("keepdim"))
    pair = b.name in _PAIRS and (named is not None or b.name == "aminmax")
    return Answer([dims, dims] if pair else [dims])


@rule(
    "sum mean prod nansum nanmean logsumexp argmax argmin amax amin all any "
    "count_nonzero",
    "input dim keepdim",
)
def reduction(b: Bound) -> Answer:
    """Over the dimensions named, or over all."""
    return _reduced(b)


@rule("max min", "input dim keepdim")
def extremum(b: Bound) -> Answer:
    """Of one tensor a reduction, of two elementwise."""
    other = b.value("dim", b.call.kwargs.get("other"))
    if isinstance(other, TensorRef):
        return spread(b, [b.need("input"), b.operand(other)])
    return _reduced(b)


@rule("median nanmedian", "input dim keepdim")
def median(b: Bound) -> Answer:
    """Over one dimension values and indices, over all a scalar."""
    return _reduced(b)


@rule("aminmax", "input")
def aminmax(b: Bound) -> Answer:
    """Two reductions at once."""
    return _reduced(b)


@rule("mode", "input dim keepdim")
def mode(b: Bound) -> Answer:
    """Over the last dimension unless told otherwise."""
    return _reduced(b, -1)


@rule("kthvalue", "input k dim keepdim")
def kthvalue(b: Bound) -> Answer:
    """Over the last dimension unless told otherwise."""
    return _reduced(b, -1)


@rule("std var std_mean var_mean", "input dim unbiased keepdim")
def spread_of_values(b: Bound) -> Answer:
    """`std(dim, unbiased, keepdim)`, or `std(unbiased)`."""
    op = b.need("input")
    first = b.value("dim")
    named = None if isinstance(first, bool) else b.dims("dim", len(op.shape))
    wrong = None if isinstance(first, bool) else _bad_dim(op, first)
    if wrong is not None:
        return wrong
    dims = _kept(op.pos, op.shape, named, b.flag("keepdim"))
    return Answer([dims, dims] if b.name.endswith("_mean") else [dims])


@rule("norm linalg.norm linalg.vector_norm", "input p dim keepdim")
def norm(b: Bound) -> Answer:
    """Over the dimensions named, or over all."""
    return _reduced(b)


@rule("linalg.matrix_norm", "input p dim keepdim")
def matrix_norm(b: Bound) -> Answer:
    """Over the last two dimensions unless told otherwise."""
    op = b.need("input")
    rank = len(op.shape)
    named = b.dims("dim", rank) or [rank - 2, rank - 1]
    return Answer([_kept(op.pos, op.shape, named, b.flag("keepdim"))])


@rule("quantile nanquantile", "input q dim keepdim")
def quantile(b: Bound) -> Answer:
    """One reduction for each quantile, along a dimension in front."""
    op = b.need("input")
    named = b.dims("dim", len(op.shape))
    dims = _kept(op.pos, op.shape, named, b.flag("keepdim"))
    q = b.tensor("q")
    front = all_same(q.pos, q.shape) if q is not None else []
    return Answer([front + dims])


@rule("topk", "input k dim")
def topk(b: Bound) -> Answer:
    """So many of one dimension, with their indices."""
    op = b.need("input")
    if not op.shape:
        return Answer([[], []])
    dim = wrap(b.integer("dim", -1), len(op.shape))
    k = b.integer("k")
    if k > op.shape[dim]:
        left = Side(op.pos, dim, op.shape[dim])
        right = Side(None, None, k, "k")
        return Answer(conflicts=[Conflict("size", "k", left, right)])
    dims = all_same(op.pos, op.shape)
    if k != op.shape[dim]:
        dims[dim] = made("argument", k, f"k={k}")
    return Answer([dims, dims])


@rule("cosine_similarity", "x1 x2 dim")
def cosine_similarity(b: Bound) -> Answer:
    """Two tensors broadcast, then one dimension goes."""
    answer = spread(b, [b.need("x1"), b.need("x2")])
    for dims in answer.outputs:
        del dims[wrap(b.integer("dim", 1), len(dims), scalar=False)]
    return answer


@rule("pairwise_distance", "x1 x2 p eps keepdim")
def pairwise_distance(b: Bound) -> Answer:
    """Two tensors broadcast, then the last dimension goes."""
    answer = spread(b, [b.need("x1"), b.need("x2")])
    for dims in answer.outputs:
        dims[-1:] = [made("new", 1, "keepdim")] if b.flag("keepdim") else []
    return answer


@rule("dist", "input other")
def dist(b: Bound) -> Answer:
    """A scalar of two tensors that broadcast."""
    answer = spread(b, [b.need("input"), b.need("other")])
    answer.outputs = [[] for _ in answer.outputs]
    return answer


@rule("equal allclose is_same_size", "input other")
def no_tensor(b: Bound) -> Answer:
    """A Python value."""
    return Answer()


@rule("glu", "input dim")
def glu(b: Bound) -> Answer:
    """One half gates the other."""
    op = b.need("input")
    dim = wrap(b.integer("dim", -1), len(op.shape), scalar=False)
    size = op.shape[dim]
    if size % 2:
        left, right = Side(op.pos, dim, size), Side(None, None, 2, "halves")
        return Answer(conflicts=[Conflict("divisible", "glu", left, right)])
    dims = all_same(op.pos, op.shape)
    dims[dim] = of("slice", op.pos, dim, size // 2, f"half of {size}")
    return Answer([dims])


@rule("diff", "input n dim")
def diff(b: Bound) -> Answer:
    """Differences of neighbours: one less each time."""
    op = b.need("input")
    if len(b.shapes) > 1:
        raise Unknown
    dim = wrap(b.integer("dim", -1), len(op.shape), scalar=False)
    n = b.integer("n", 1)
    dims = all_same(op.pos, op.shape)
    size = max(0, op.shape[dim] - n)
    dims[dim] = of("window", op.pos, dim, size, f"{op.shape[dim]} - {n}")
    return Answer([dims])


@rule("multinomial", "input num_samples")
def multinomial(b: Bound) -> Answer:
    """So many samples for each row."""
    op = b.need("input")
    count = b.integer("num_samples")
    rows = all_same(op.pos, op.shape)[:-1]
    return Answer([[*rows, made("argument", count, f"num_samples={count}")]])


@rule("bincount histc", "input bins")
def histogram(b: Bound) -> Answer:
    """As many as there are bins."""
    bins = b.value("bins", 100)
    if b.name == "bincount" or not isinstance(bins, int):
        return Answer([[made("values", None, "bins")]])
    return Answer([[made("argument", bins, f"bins={bins}")]])


@rule("searchsorted bucketize", "first second")
def searchsorted(b: Bound) -> Answer:
    """The shape of the values looked up."""
    at = "second" if b.name == "searchsorted" else "first"
    op = b.tensor(at)
    if op is None:
        raise Unknown
    return Answer([all_same(op.pos, op.shape)])
