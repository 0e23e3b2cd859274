"""The functions that pick, gather and scatter."""

from __future__ import annotations

from shapetrace.signatures.answer import (
    Answer,
    Dim,
    Unknown,
    all_same,
    made,
    of,
    same,
    wrap,
)
from shapetrace.signatures.binding import Bound, Operand
from shapetrace.signatures.broadcasting import broadcast, spread
from shapetrace.signatures.indexing import placed
from shapetrace.signatures.registry import rule
from shapetrace.signatures.relation import Conflict, Side


@rule("gather", "input dim index")
def gather(b: Bound) -> Answer:
    """The index's shape; outside `dim` it may not exceed the input's."""
    op, index = b.need("input"), b.need("index")
    answer = Answer()
    _bounded(answer, op, index, wrap(b.integer("dim"), len(op.shape)), "input")
    if not answer.conflicts:
        answer.outputs = [all_same(index.pos, index.shape)]
    return answer


def _bounded(
    answer: Answer, op: Operand, index: Operand, dim: int | None, name: str
) -> None:
    """An index may be no larger than the tensor, but in `dim`."""
    if len(op.shape) != len(index.shape):
        if op.shape and index.shape:
            left = Side(op.pos, None, len(op.shape), name)
            right = Side(index.pos, None, len(index.shape), "index")
            answer.conflicts.append(Conflict("rank", "index", left, right))
        return
    for d, size in enumerate(index.shape):
        if d != dim and size > op.shape[d]:
            left = Side(op.pos, d, op.shape[d], name)
            right = Side(index.pos, d, size, "index")
            answer.conflicts.append(Conflict("size", "index", left, right))


@rule("scatter scatter_add scatter_reduce", "input dim index src")
def scatter(b: Bound) -> Answer:
    """The input's shape; the index fits in input and source."""
    op, index, src = b.need("input"), b.need("index"), b.tensor("src")
    answer = Answer()
    _bounded(answer, op, index, wrap(b.integer("dim"), len(op.shape)), "input")
    if src is not None:
        _bounded(answer, src, index, None, "src")
    if not answer.conflicts:
        answer.outputs = [all_same(op.pos, op.shape)]
    return answer


@rule("index_add index_copy", "input dim index source")
def index_add(b: Bound) -> Answer:
    """The source's rows are as many as the index has entries."""
    op, index, source = b.need("input"), b.need("index"), b.need("source")
    answer = Answer()
    dim = wrap(b.integer("dim"), len(op.shape))
    if len(source.shape) == len(op.shape):
        for d, size in enumerate(source.shape):
            pair = (index.pos, 0, index.shape[0] if index.shape else 1)
            if d != dim:
                pair = (op.pos, d, op.shape[d])
            if pair[2] != size:
                left, right = Side(*pair), Side(source.pos, d, size, "source")
                answer.conflicts.append(Conflict("size", "source", left, right))
    if not answer.conflicts:
        answer.outputs = [all_same(op.pos, op.shape)]
    return answer


@rule("index_select", "input dim index")
def index_select(b: Bound) -> Answer:
    """As many as the index has entries."""
    op, index = b.need("input"), b.need("index")
    dims = all_same(op.pos, op.shape)
    if op.shape:
        dim = wrap(b.integer("dim"), len(op.shape))
        if index.shape:
            dims[dim] = same(index.pos, 0, index.shape[0])
        else:
            dims[dim] = made("new", 1)
    return Answer([dims])


@rule("take", "input index")
def take(b: Bound) -> Answer:
    """The index's shape."""
    index = b.need("index")
    return Answer([all_same(index.pos, index.shape)])


@rule("take_along_dim", "input indices dim")
def take_along_dim(b: Bound) -> Answer:
    """Broadcast but in `dim`, which is the index's."""
    op, index = b.need("input"), b.need("indices")
    wanted = b.value("dim")
    if wanted is None:
        return Answer([all_same(index.pos, index.shape)])
    dim = wrap(b.integer("dim"), len(op.shape))
    if len(op.shape) != len(index.shape):
        raise Unknown
    answer = Answer()
    dims: list[Dim] = []
    for d in range(len(op.shape)):
        if d == dim:
            dims.append(same(index.pos, d, index.shape[d]))
            continue
        parts = [
            (o.pos, d, o.shape[d : d + 1], name)
            for o, name in ((op, "input"), (index, "indices"))
        ]
        dims += broadcast(answer, parts)
    if not answer.conflicts:
        answer.outputs = [dims]
    return answer


@rule("masked_select nonzero argwhere nonzero_static unique_consecutive", "input mask")
def by_values(b: Bound) -> Answer:
    """How many there are depends on the values."""
    op = b.first()
    if b.flag("as_tuple"):
        return Answer([[made("values", None)]] * max(len(op.shape), 1))
    mask, stretched = b.tensor("mask"), []
    if b.name == "masked_select" and mask is not None:
        both = spread(b, [op, mask])
        if both.conflicts:
            return both
        stretched = both.stretched
    first = [made("values", None, "depends on the values")]
    if b.name in ("nonzero", "argwhere", "nonzero_static"):
        return Answer([[*first, made("new", len(op.shape), "dimensions")]])
    return Answer([first], stretched=stretched)


@rule("unique", "input sorted return_inverse return_counts dim")
def unique(b: Bound) -> Answer:
    """As many as there are different values; the inverse has the input's shape."""
    op = b.first()
    many = made("values", None, "different values")
    dim = b.value("dim")
    first = [many]
    inverse = all_same(op.pos, op.shape)
    if isinstance(dim, int):
        dim = wrap(dim, len(op.shape))
        inverse = inverse[dim : dim + 1]
        first = all_same(op.pos, op.shape)
        first[dim] = many
    outputs = [first]
    if b.flag("return_inverse"):
        outputs.append(inverse)
    if b.flag("return_counts"):
        outputs.append([many])
    return Answer(outputs)


@rule("select", "input dim index")
def select(b: Bound) -> Answer:
    """One place along a dimension, which goes."""
    op = b.need("input")
    dim = wrap(b.integer("dim"), len(op.shape))
    answer = Answer()
    if op.shape and isinstance(b.value("index"), int):
        placed(answer, op, dim, b.integer("index"))
    if not answer.conflicts:
        dims = enumerate(all_same(op.pos, op.shape))
        answer.outputs = [[d for i, d in dims if i != dim]]
    return answer


@rule("narrow narrow_copy", "input dim start length")
def narrow(b: Bound) -> Answer:
    """A part of one dimension, of a length given."""
    op = b.need("input")
    dim = wrap(b.integer("dim"), len(op.shape), scalar=False)
    length = b.integer("length")
    dims = all_same(op.pos, op.shape)
    start = b.value("start")
    least = length
    if isinstance(start, int):  # a negative one counts from the end
        least = length + start if start >= 0 else max(length, -start)
    if least > op.shape[dim]:
        left = Side(op.pos, dim, op.shape[dim])
        right = Side(None, None, least, "length")
        return Answer(conflicts=[Conflict("size", "length", left, right)])
    if length != op.shape[dim]:
        note = f"length={length} of {op.shape[dim]}"
        dims[dim] = of("slice", op.pos, dim, length, note)
    return Answer([dims])
