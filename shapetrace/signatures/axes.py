"""Dimensions moved, added, dropped, stretched and repeated."""

from __future__ import annotations

from shapetrace.signatures.answer import (
    Answer,
    Dim,
    Unknown,
    all_same,
    joined,
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


def _ordered(op: Operand, order: list[int]) -> Answer:
    """The dimensions in another order."""
    return Answer([[same(op.pos, d, op.shape[d]) for d in order]])


@rule("permute", "input dims")
def permute(b: Bound) -> Answer:
    """Every dimension, in the order given."""
    op = b.need("input")
    dims = b.ints("dims")
    if len(dims) != len(op.shape):
        left = Side(op.pos, None, len(op.shape), "input")
        right = Side(None, None, len(dims), f"permute({', '.join(map(str, dims))})")
        return Answer(conflicts=[Conflict("rank", "dims", left, right)])
    return _ordered(op, [wrap(d, len(op.shape)) for d in dims])


@rule("transpose swapaxes swapdims", "input dim0 dim1")
def transpose(b: Bound) -> Answer:
    """Two dimensions change places."""
    op = b.need("input")
    rank = len(op.shape)
    order = list(range(rank))
    pair: list[int] = []
    for name, other in (("dim0", "axis0"), ("dim1", "axis1")):
        wanted = b.integer(name, b.call.kwargs.get(other))
        if not -max(rank, 1) <= wanted < max(rank, 1):
            return Answer(conflicts=[out_of_range("input", op.pos, wanted, rank)])
        pair.append(wrap(wanted, rank))
    if rank:
        i, j = pair
        order[i], order[j] = order[j], order[i]
    return _ordered(op, order)


@rule("t T H mT mH adjoint")
def reversed_order(b: Bound) -> Answer:
    """The last two dimensions change places; T reverses all of them."""
    op = b.first()
    order = list(range(len(op.shape)))
    if b.name in ("t", "T", "H"):
        order.reverse()
    elif len(order) >= 2:
        order[-1], order[-2] = order[-2], order[-1]
    return _ordered(op, order)


@rule("movedim moveaxis", "input source destination")
def movedim(b: Bound) -> Answer:
    """Some dimensions move, the others keep their order."""
    op = b.need("input")
    rank = len(op.shape)
    source, target = b.dims("source", rank), b.dims("destination", rank)
    if source is None or target is None or len(source) != len(target):
        raise Unknown
    rest = iter(d for d in range(rank) if d not in source)
    moved = dict(zip(target, source))
    return _ordered(op, [moved[d] if d in moved else next(rest) for d in range(rank)])


@rule("rot90", "input k dims")
def rot90(b: Bound) -> Answer:
    """An odd number of quarter turns swaps two dimensions."""
    op = b.need("input", 2)
    order = list(range(len(op.shape)))
    turned = b.dims("dims", len(op.shape)) or [0, 1]
    if len(turned) != 2:
        raise Unknown
    i, j = turned
    if b.integer("k", 1) % 2:
        order[i], order[j] = order[j], order[i]
    return _ordered(op, order)


@rule("squeeze", "input dim")
def squeeze(b: Bound) -> Answer:
    """Dimensions of size 1 go: all, or those named."""
    op = b.need("input")
    named = b.dims("dim", len(op.shape))
    return Answer(
        [
            [
                same(op.pos, d, size)
                for d, size in enumerate(op.shape)
                if size != 1 or (named is not None and d not in named)
            ]
        ]
    )


@rule("unsqueeze", "input dim")
def unsqueeze(b: Bound) -> Answer:
    """A fresh dimension of size 1."""
    op = b.need("input")
    rank = len(op.shape)
    dim = b.integer("dim")
    if not -rank - 1 <= dim <= rank:
        return Answer(conflicts=[out_of_range("input", op.pos, dim, rank)])
    dims = all_same(op.pos, op.shape)
    dims.insert(dim % (rank + 1), made("new", 1))
    return Answer([dims])


@rule("expand broadcast_to", "input size")
def expand(b: Bound) -> Answer:
    """Dimensions of size 1 stretched to a size given; -1 leaves one as it is."""
    op = b.need("input")
    return _expanded(op, tuple(b.ints("size")), b.name, None)


@rule("expand_as", "input other")
def expand_as(b: Bound) -> Answer:
    """Stretched to another tensor's shape."""
    other = b.need("other")
    return _expanded(b.need("input"), other.shape, b.name, other.pos)


def _expanded(op: Operand, sizes: Shape, name: str, other: int | None) -> Answer:
    """`other` is the position of the tensor whose shape `sizes` is."""
    lead = len(sizes) - len(op.shape)
    if lead < 0:
        left = Side(op.pos, None, len(op.shape), "input")
        right = Side(other, None, len(sizes), name)
        return Answer(conflicts=[Conflict("rank", name, left, right)])
    answer = Answer()
    dims: list[Dim] = []
    for d, size in enumerate(sizes):
        old = op.shape[d - lead] if d >= lead else 1
        if d >= lead and size in (-1, old):
            dims.append(same(op.pos, d - lead, old))
        elif old != 1:
            left = Side(op.pos, d - lead, old)
            right = Side(other, None if other is None else d, size, name)
            answer.conflicts.append(Conflict("size", name, left, right))
        elif other is None:
            dims.append(made("argument", size, f"{name} to {size}"))
        else:
            dims.append(of("broadcast", other, d, size))
    if not answer.conflicts:
        answer.outputs = [dims]
    return answer


@rule("broadcast_tensors", "tensors")
def broadcast_tensors(b: Bound) -> Answer:
    """Every tensor stretched to the common shape."""
    found = [Operand(i, s, b.call.inputs[i]) for i, s in enumerate(b.shapes)]
    answer = spread(b, found)
    answer.outputs *= len(found)
    return answer


@rule("repeat tile", "input repeats")
def repeat(b: Bound) -> Answer:
    """Each dimension a number of times."""
    op = b.need("input")
    if b.name == "tile" and b.value("repeats") is None:
        times = [v for v in b.value("dims", ()) if isinstance(v, int)]
    else:
        times = b.ints("repeats")
    if b.name == "tile":
        times = [1] * (len(op.shape) - len(times)) + times
    lead = len(times) - len(op.shape)
    if lead < 0:
        left = Side(op.pos, None, len(op.shape), "input")
        right = Side(None, None, len(times), "repeat")
        return Answer(conflicts=[Conflict("rank", "repeat", left, right)])
    return Answer([[_repeated(op, d - lead, count) for d, count in enumerate(times)]])


def _repeated(op: Operand, dim: int, count: int) -> Dim:
    """One dimension, `count` times; a negative one is fresh."""
    if dim < 0:
        return made("argument", count, f"repeat({count})")
    size = op.shape[dim]
    if count == 1:
        return same(op.pos, dim, size)
    return of("repeat", op.pos, dim, size * count, f"{size}·{count}")


@rule("repeat_interleave", "input repeats dim")
def repeat_interleave(b: Bound) -> Answer:
    """Each element a number of times; without `dim`, of the flattened tensor."""
    op = b.need("input")
    count, wanted = b.value("repeats"), b.value("dim")
    rank = len(op.shape)
    if isinstance(wanted, int):
        dims = all_same(op.pos, op.shape)
        dim = wrap(wanted, rank, scalar=False)
        size: int | None = op.shape[dim]
        if isinstance(count, int) and size is not None:
            dims[dim] = _repeated(op, dim, count)
        else:
            dims[dim] = made("values", b.value("output_size"), "repeats")
        return Answer([dims])
    if not isinstance(count, int) or rank != 1:
        return Answer([[made("values", None, "repeats")]])
    return Answer([[_repeated(op, 0, count)]])


@rule("atleast_1d atleast_2d atleast_3d", "tensors")
def atleast(b: Bound) -> Answer:
    """Fresh dimensions of size 1 where there are too few."""
    wanted = int(b.name[-2])
    answer = Answer()
    for pos, shape in enumerate(b.shapes):
        dims = all_same(pos, shape)
        one = made("new", 1)
        if not dims:
            dims = [one] * wanted
        elif wanted == 2 and len(dims) == 1:
            dims.insert(0, one)
        elif wanted == 3 and len(dims) < 3:
            dims = [one, *dims, one] if len(dims) == 1 else [*dims, one]
        answer.outputs.append(dims)
    return answer


@rule("diagonal linalg.diagonal", "input offset dim1 dim2")
def diagonal(b: Bound) -> Answer:
    """Two dimensions give way to their diagonal, the last one of the result."""
    op = b.need("input")
    rank = len(op.shape)
    pair = (-2, -1) if b.name == "linalg.diagonal" else (0, 1)
    i = wrap(b.integer("dim1", pair[0]), rank)
    j = wrap(b.integer("dim2", pair[1]), rank)
    dims = [d for n, d in enumerate(all_same(op.pos, op.shape)) if n not in (i, j)]
    offset = b.integer("offset", 0)
    rows = op.shape[i] - max(-offset, 0)
    columns = op.shape[j] - max(offset, 0)
    return Answer([[*dims, _along(op, i, j, rows, columns)]])


def _along(op: Operand, i: int, j: int, rows: int, columns: int) -> Dim:
    """The diagonal of two dimensions: as long as the shorter one."""
    least = min(rows, columns)
    sources = [(op.pos, d) for d, n in ((i, rows), (j, columns)) if n == least]
    return joined("slice", sources, max(0, least), "diagonal")


@rule("diag", "input diagonal")
def diag(b: Bound) -> Answer:
    """A vector to a matrix, a matrix to its diagonal."""
    op = b.need("input")
    offset = b.integer("diagonal", 0)
    if len(op.shape) == 1:
        size = op.shape[0] + abs(offset)
        one = same(op.pos, 0, size) if not offset else of("window", op.pos, 0, size)
        return Answer([[one, one]])
    if len(op.shape) != 2:
        raise Unknown
    rows, columns = op.shape
    cut = rows - max(-offset, 0), columns - max(offset, 0)
    return Answer([[_along(op, 0, 1, *cut)]])


@rule("diag_embed", "input offset dim1 dim2")
def diag_embed(b: Bound) -> Answer:
    """The last dimension becomes a square of two."""
    op = b.need("input", 1)
    rank = len(op.shape) + 1
    last = len(op.shape) - 1
    offset = b.integer("offset", 0)
    size = op.shape[last] + abs(offset)
    square = of("window", op.pos, last, size) if offset else same(op.pos, last, size)
    places = {wrap(b.integer("dim1", -2), rank), wrap(b.integer("dim2", -1), rank)}
    rest = iter(all_same(op.pos, op.shape)[:-1])
    return Answer([[square if d in places else next(rest) for d in range(rank)]])


@rule("diagflat", "input offset")
def diagflat(b: Bound) -> Answer:
    """All elements on the diagonal of a square."""
    op = b.need("input")
    if len(op.shape) != 1:
        raise Unknown
    old = op.shape[0]
    size = old + abs(b.integer("offset", 0))
    dim = same(op.pos, 0, old) if size == old else of("window", op.pos, 0, size)
    return Answer([[dim, dim]])
