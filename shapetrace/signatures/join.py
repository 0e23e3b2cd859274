"""cat, stack, split and their kin."""

from __future__ import annotations

from collections import Counter
from typing import Any

from shapetrace.records import TensorRef
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
from shapetrace.signatures.binding import Bound, Operand
from shapetrace.signatures.registry import rule
from shapetrace.signatures.relation import Conflict, DimOrigin, Side


def _listed(b: Bound) -> list[Operand]:
    """The tensors of a list argument, or those given one by one."""
    found: Any = b.value("tensors")
    if isinstance(found, TensorRef):
        found = b.call.args
    if not isinstance(found, (tuple, list)):
        raise Unknown
    operands = [b.operand(ref) for ref in found if isinstance(ref, TensorRef)]
    if not operands:
        raise Unknown
    return operands


def _agreeing(
    answer: Answer, operands: list[Operand], dim: int | None
) -> list[DimOrigin]:
    """The dimensions that must be equal in all operands; `dim` is left out of it.
    Where they are not, what is odd stands against the shape that most operands have."""
    first = _usual(operands, dim)
    for other in operands:
        if len(other.shape) != len(first.shape):
            place = f"tensors[{operands.index(first)}]"
            left = Side(first.pos, None, len(first.shape), place)
            right = Side(other.pos, None, len(other.shape), "")
            answer.conflicts.append(Conflict("rank", "tensors", left, right))
            continue
        for d, size in enumerate(other.shape):
            if d != dim and size != first.shape[d]:
                sides = (Side(first.pos, d, first.shape[d]), Side(other.pos, d, size))
                left, right = sides if len(operands) < 3 else reversed(sides)
                answer.conflicts.append(Conflict("size", f"dim {d}", left, right))
    if answer.conflicts:
        return []
    positions = list(dict.fromkeys(op.pos for op in operands))
    return [
        DimOrigin("same", tuple([(pos, d) for pos in positions]))
        for d in range(len(first.shape))
    ]


def _usual(operands: list[Operand], dim: int | None) -> Operand:
    """The first operand of the shape that most of them have."""
    shapes = [
        tuple(size for d, size in enumerate(op.shape) if d != dim) for op in operands
    ]
    most = Counter(shapes).most_common(1)[0][0]
    return operands[shapes.index(most)]


@rule("cat concat concatenate", "tensors dim")
def cat(b: Bound) -> Answer:
    """Sizes add up in one dimension; legacy empty tensors of shape (0,) are skipped."""
    operands = [op for op in _listed(b) if op.shape != (0,)] or _listed(b)
    return _cat(operands, b.integer("dim", b.call.kwargs.get("axis", 0)))


def _cat(operands: list[Operand], wanted: int) -> Answer:
    """Joined along one dimension."""
    first = operands[0]
    rank = len(first.shape)
    if not -rank <= wanted < rank:
        return Answer(conflicts=[out_of_range("tensors", first.pos, wanted, rank)])
    dim = wanted % rank
    answer = Answer()
    origins = _agreeing(answer, operands, dim)
    if answer.conflicts:
        return answer
    dims: list[Dim] = list(zip(origins, first.shape))
    sizes = [op.shape[dim] for op in operands]
    if len(operands) > 1:
        note = " + ".join(map(str, sizes)) if len(sizes) <= 8 else f"{len(sizes)} parts"
        places = dict.fromkeys((op.pos, dim) for op in operands)
        dims[dim] = joined("sum", places, sum(sizes), note)
    answer.outputs = [dims]
    return answer


@rule("stack", "tensors dim")
def stack(b: Bound) -> Answer:
    """A fresh dimension that counts the tensors."""
    operands = _listed(b)
    rank = len(operands[0].shape)
    answer = Answer()
    dim = wrap(b.integer("dim", 0), rank + 1)
    origins = _agreeing(answer, operands, None)
    if answer.conflicts:
        return answer
    dims: list[Dim] = list(zip(origins, operands[0].shape))
    dims.insert(dim, made("new", len(operands), f"{len(operands)} tensors stacked"))
    answer.outputs = [dims]
    return answer


def _raised(op: Operand, rank: int) -> Operand:
    """hstack, vstack and dstack first lift every tensor to a number of dimensions."""
    shape = op.shape
    if rank >= 2 and len(shape) == 1:
        shape = (1, *shape)
    while len(shape) < rank:
        shape = (*shape, 1) if len(shape) >= 2 or rank == 1 else (1, *shape)
    return Operand(op.pos, shape, op.ref)


@rule("hstack vstack row_stack dstack column_stack", "tensors")
def stacks(b: Bound) -> Answer:
    """cat after lifting tensors of few dimensions."""
    operands = _listed(b)
    name = b.name
    rank = {"hstack": 1, "dstack": 3}.get(name, 2)
    if name == "column_stack":
        lifted = [
            (
                Operand(
                    op.pos, (*op.shape, 1) if len(op.shape) == 1 else op.shape, op.ref
                )
                if op.shape
                else Operand(op.pos, (1, 1), op.ref)
            )
            for op in operands
        ]
        result = _cat(lifted, 1)
        column = True
    else:
        lifted = [_raised(op, rank) for op in operands]
        axis = {"dstack": 2, "hstack": 0 if len(lifted[0].shape) == 1 else 1}
        result = _cat(lifted, axis.get(name, 0))
        column = False
    shift = {op.pos: _shift(op, rank, column) for op in operands}
    ranks = {op.pos: len(op.shape) for op in operands}
    result.outputs = [[_lowered(d, shift, ranks) for d in o] for o in result.outputs]
    result.conflicts = [
        Conflict(c.kind, c.name, *(_own(s, shift, ranks) for s in (c.left, c.right)))
        for c in result.conflicts
    ]
    return result


def _shift(op: Operand, rank: int, column: bool) -> int:
    """How far lifting moved the tensor's own dimensions."""
    lifts = not column and rank >= 2 and len(op.shape) == 1
    return 1 if lifts else 0


def _own(side: Side, shift: dict[int, int], ranks: dict[int, int]) -> Side:
    """A side counted in its tensor as it was before lifting."""
    if side.input is None or side.dim is None:
        return side
    dim = side.dim - shift[side.input]
    inside = 0 <= dim < ranks[side.input]
    return Side(side.input, dim if inside else None, side.size, side.name)


def _lowered(dim: Dim, shift: dict[int, int], ranks: dict[int, int]) -> Dim:
    """Sources counted in the tensors as they were before lifting."""
    origin, size = dim
    sources = tuple(
        (pos, d - shift[pos])
        for pos, d in origin.sources
        if 0 <= d - shift[pos] < ranks[pos]
    )
    if sources:
        return DimOrigin(origin.how, sources, origin.note), size
    return made("new", size, origin.note)


@rule(
    "split unsafe_split split_with_sizes unsafe_split_with_sizes",
    "tensor split_size dim",
)
def split(b: Bound) -> Answer:
    """Parts of a given size, or of given sizes."""
    pos, shape, _ = b.first()
    wanted = b.value("split_size", b.value("split_size_or_sections"))
    if wanted is None:
        wanted = b.value("split_sizes")
    dim = wrap(b.integer("dim", 0), len(shape), scalar=False)
    whole = shape[dim]
    if isinstance(wanted, int):
        if wanted <= 0:
            raise Unknown
        count = max(1, -(-whole // wanted))
        sizes = [min(wanted, whole - i * wanted) for i in range(count)]
        return _parts(pos, shape, dim, sizes)
    if not isinstance(wanted, (tuple, list)):
        raise Unknown
    sizes = [size for size in wanted if isinstance(size, int)]
    if len(sizes) != len(wanted):
        raise Unknown
    if sum(sizes) != whole:
        left = Side(pos, dim, whole)
        right = Side(None, None, sum(sizes), "split_size")
        return Answer(conflicts=[Conflict("size", "split_size", left, right)])
    return _parts(pos, shape, dim, sizes)


def _parts(pos: int, shape: tuple[int, ...], dim: int, sizes: list[int]) -> Answer:
    """One output for each part of one dimension."""
    answer = Answer()
    at = 0
    for size in sizes:
        dims = all_same(pos, shape)
        if size != shape[dim]:
            note = f"{at}:{at + size} of {shape[dim]}"
            dims[dim] = of("slice", pos, dim, size, note)
        at += size
        answer.outputs.append(dims)
    return answer


@rule("chunk unsafe_chunk", "input chunks dim")
def chunk(b: Bound) -> Answer:
    """So many parts of equal size, the last one smaller."""
    pos, shape, _ = b.first()
    count = b.integer("chunks")
    dim = wrap(b.integer("dim", 0), len(shape), scalar=False)
    if count < 1:
        raise Unknown
    whole = shape[dim]
    if not whole:
        return _parts(pos, shape, dim, [0] * count)
    size = -(-whole // count)
    sizes = [min(size, whole - at) for at in range(0, whole, size)]
    return _parts(pos, shape, dim, sizes)


@rule("tensor_split hsplit vsplit dsplit", "input indices_or_sections dim")
def tensor_split(b: Bound) -> Answer:
    """Parts by their number, or by the places to cut."""
    pos, shape, _ = b.first()
    found = b.value("indices_or_sections")
    if found is None:
        found = b.value("sections", b.value("indices"))
    axis = {"hsplit": 1 if len(shape) > 1 else 0, "vsplit": 0, "dsplit": 2}
    wanted = axis[b.name] if b.name in axis else b.integer("dim", 0)
    dim = wrap(wanted, len(shape), scalar=False)
    whole = shape[dim]
    if isinstance(found, int) and b.name != "tensor_split" and whole % found:
        left, right = Side(pos, dim, whole), Side(None, None, found, "sections")
        return Answer(conflicts=[Conflict("divisible", "sections", left, right)])
    if isinstance(found, int):
        low, more = divmod(whole, found)
        return _parts(pos, shape, dim, [low + (i < more) for i in range(found)])
    if not isinstance(found, (tuple, list)):
        raise Unknown
    cuts = [0, *(range(whole)[:cut].stop for cut in found), whole]
    sizes = [max(0, stop - start) for start, stop in zip(cuts, cuts[1:])]
    return _parts(pos, shape, dim, sizes)


@rule("unbind", "input dim")
def unbind(b: Bound) -> Answer:
    """One output for each place along a dimension, which goes."""
    pos, shape, _ = b.first()
    dim = wrap(b.integer("dim", 0), len(shape), scalar=False)
    dims = [same(pos, d, size) for d, size in enumerate(shape) if d != dim]
    return Answer([list(dims) for _ in range(shape[dim])])


@rule("meshgrid", "tensors")
def meshgrid(b: Bound) -> Answer:
    """Each vector spans one dimension of every output."""
    operands = _listed(b)
    dims = [
        same(op.pos, 0, op.shape[0]) if op.shape else made("new", 1) for op in operands
    ]
    if b.call.kwargs.get("indexing") == "xy" and len(dims) > 1:
        dims[:2] = [dims[1], dims[0]]
    return Answer([list(dims) for _ in operands])


@rule("block_diag", "tensors")
def block_diag(b: Bound) -> Answer:
    """Matrices along a diagonal: both dimensions add up."""
    operands = _listed(b)
    dims: list[Dim] = []
    for d in (0, 1):
        sizes = [
            op.shape[d - 2 + len(op.shape)] if len(op.shape) > 1 - d else 1
            for op in operands
        ]
        places = [
            (op.pos, d - 2 + len(op.shape)) for op in operands if len(op.shape) > 1 - d
        ]
        dims.append(joined("sum", places, sum(sizes), " + ".join(map(str, sizes))))
    return Answer([dims])


@rule("cartesian_prod", "tensors")
def cartesian_prod(b: Bound) -> Answer:
    """Every combination of the vectors' elements."""
    operands = _listed(b)
    if len(operands) == 1:
        return Answer([all_same(operands[0].pos, operands[0].shape)])
    if not all(op.shape for op in operands):
        raise Unknown
    total = 1
    for op in operands:
        total *= op.shape[0]
    note = "·".join(str(op.shape[0]) for op in operands)
    rows = joined("product", [(op.pos, 0) for op in operands], total, note)
    return Answer([[rows, made("new", len(operands))]])
