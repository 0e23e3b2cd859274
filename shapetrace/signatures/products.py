"""Products that a line of the table cannot say: einsum, tensordot, kron."""

from __future__ import annotations

import functools
from typing import Any

from shapetrace.records import TensorRef
from shapetrace.signatures.answer import Answer, Dim, Unknown, joined, made, same, wrap
from shapetrace.signatures.binding import Bound, Operand
from shapetrace.signatures.broadcasting import spread
from shapetrace.signatures.language import DimSpec, OperandSpec, Signature
from shapetrace.signatures.match import match_best
from shapetrace.signatures.registry import rule
from shapetrace.signatures.relation import Conflict, Side
from shapetrace.signatures.table import signatures


def _letters(text: str) -> tuple[DimSpec, ...]:
    """The subscripts of one operand."""
    head, dots, tail = text.partition("...")
    middle = (DimSpec("ellipsis", "..."),) if dots else ()
    names = [tuple(DimSpec("name", letter) for letter in part) for part in (head, tail)]
    return names[0] + middle + names[1]


@functools.lru_cache(maxsize=256)
def equation(text: str) -> Signature:
    """An einsum equation as a signature."""
    left, arrow, right = text.replace(" ", "").partition("->")
    inputs = left.split(",")
    if not arrow:
        letters = sorted(set(left) - set(",."))
        once = [letter for letter in letters if left.count(letter) == 1]
        right = ("..." if "..." in left else "") + "".join(once)
    params = {f"operand{i}": i + 1 for i in range(len(inputs))}
    operands = tuple(
        OperandSpec(param, _letters(part)) for param, part in zip(params, inputs)
    )
    return Signature("einsum", params, operands, (_letters(right),), False)


@rule("einsum", "equation")
def einsum(b: Bound) -> Answer:
    """The equation is the signature."""
    text = b.value("equation")
    if not isinstance(text, str):
        raise Unknown
    signature = equation(text)
    rest: Any = b.call.args[1:]
    if len(rest) == 1 and isinstance(rest[0], (tuple, list)):
        rest = rest[0]
    if len(rest) != len(signature.operands):
        raise Unknown
    return match_best((signature,), _Listed(b, signature, rest))


class _Listed(Bound):
    """Operands given as a list instead of one by one."""

    __slots__ = ("operands",)

    def __init__(self, b: Bound, signature: Signature, operands: Any) -> None:
        super().__init__(b.call, b.shapes, signature.params, b.name)
        self.operands = operands

    def value(self, name: str, default: Any = None) -> Any:
        """The operand of that name."""
        place = self.index.get(name)
        return default if place is None else self.operands[place - 1]


@rule("tensordot", "a b dims")
def tensordot(b: Bound) -> Answer:
    """The dimensions named are contracted, the others follow one another."""
    left, right = b.need("a"), b.need("b")
    dims = b.value("dims", 2)
    if isinstance(dims, int):
        pairs = [(len(left.shape) - dims + i, i) for i in range(dims)]
    elif isinstance(dims, (tuple, list)) and len(dims) == 2:
        sides = [(d,) if isinstance(d, int) else tuple(d) for d in dims]
        ranks = len(left.shape), len(right.shape)
        pairs = [(wrap(i, ranks[0]), wrap(j, ranks[1])) for i, j in zip(*sides)]
    else:
        raise Unknown
    if any(not 0 <= i < len(left.shape) or j >= len(right.shape) for i, j in pairs):
        raise Unknown
    answer = Answer()
    for i, j in pairs:
        answer.roles[left.pos, i] = answer.roles[right.pos, j] = f"dims {i}, {j}"
        if left.shape[i] != right.shape[j]:
            one = Side(left.pos, i, left.shape[i])
            two = Side(right.pos, j, right.shape[j])
            answer.conflicts.append(Conflict("size", "dims", one, two))
    if answer.conflicts:
        return answer
    used = [{i for i, _ in pairs}, {j for _, j in pairs}]
    answer.outputs = [
        [
            same(op.pos, d, size)
            for op, gone in zip((left, right), used)
            for d, size in enumerate(op.shape)
            if d not in gone
        ]
    ]
    return answer


@rule("kron", "input other")
def kron(b: Bound) -> Answer:
    """Sizes multiplied, aligned from the right."""
    left, right = b.need("input"), b.need("other")
    rank = max(len(left.shape), len(right.shape))
    dims: list[Dim] = []
    for place in range(rank):
        size, sources, factors = 1, [], []
        for op in (left, right):
            at = place - rank + len(op.shape)
            if at >= 0:
                size *= op.shape[at]
                sources.append((op.pos, at))
                factors.append(str(op.shape[at]))
        if len(sources) == 1:
            dims.append(same(*sources[0], size))
        else:
            dims.append(joined("product", sources, size, "·".join(factors)))
    return Answer([dims])


@rule("linalg.multi_dot chain_matmul", "tensors")
def multi_dot(b: Bound) -> Answer:
    """A chain of matrices."""
    found: Any = b.value("tensors")
    if isinstance(found, TensorRef):
        found = b.call.args
    if not isinstance(found, (tuple, list)) or len(found) < 2:
        raise Unknown
    ops = [b.operand(ref) for ref in found if isinstance(ref, TensorRef)]
    if len(ops) < len(found) or not all(op.shape for op in ops):
        raise Unknown
    answer = Answer()
    for one, two in zip(ops, ops[1:]):
        last = len(one.shape) - 1
        if one.shape[last] != two.shape[0]:
            left = Side(one.pos, last, one.shape[last])
            right = Side(two.pos, 0, two.shape[0])
            answer.conflicts.append(Conflict("size", "k", left, right))
    if not answer.conflicts:
        first, final = ops[0], ops[-1]
        dims = [same(first.pos, 0, first.shape[0])] if len(first.shape) > 1 else []
        if len(final.shape) > 1:
            dims.append(same(final.pos, 1, final.shape[1]))
        answer.outputs = [dims]
    return answer


@rule("addmm addbmm baddbmm addmv addr", "input first second")
def added_product(b: Bound) -> Answer:
    """A product, and a tensor that broadcasts to it."""
    rows = signatures(b.name)
    answer = match_best(rows, Bound(b.call, b.shapes, rows[0].params, b.name))
    added = b.tensor("input")
    if added is None or not answer.outputs:
        return answer
    dims = answer.outputs[0]
    lead = len(dims) - len(added.shape)
    for d, size in enumerate(added.shape):
        origin, wanted = dims[d + lead] if d + lead >= 0 else (None, 1)
        if size not in (1, wanted):
            pos, dim = origin.sources[0] if origin else (None, None)
            left = Side(pos, dim, wanted or 0)
            right = Side(added.pos, d, size, "input")
            answer.conflicts.append(Conflict("size", "input", left, right))
    return answer


@rule("cross linalg.cross", "input other dim")
def cross(b: Bound) -> Answer:
    """Three by three, broadcast."""
    return spread(b, [b.need("input"), b.need("other")])


def _not_square(op: Operand) -> Conflict | None:
    """The conflict of a matrix whose rows and columns differ."""
    rank = len(op.shape)
    if rank < 2:
        raise Unknown
    if op.shape[-1] == op.shape[-2]:
        return None
    left = Side(op.pos, rank - 2, op.shape[-2], "rows")
    right = Side(op.pos, rank - 1, op.shape[-1], "columns")
    return Conflict("size", "square", left, right)


@rule("det logdet linalg.det linalg.matrix_rank slogdet linalg.slogdet")
def of_matrices(b: Bound) -> Answer:
    """One number for each matrix; slogdet gives two."""
    op = b.first()
    if b.name != "linalg.matrix_rank" and (clash := _not_square(op)):
        return Answer(conflicts=[clash])
    dims = [same(op.pos, d, size) for d, size in enumerate(op.shape[:-2])]
    return Answer([dims, dims] if "slogdet" in b.name else [dims])


@rule(
    "linalg.inv inverse linalg.cholesky linalg.inv_ex linalg.matrix_exp "
    "linalg.matrix_power"
)
def square(b: Bound) -> Answer:
    """Square matrices to square matrices."""
    op = b.first()
    clash = _not_square(op)
    if clash is not None:
        return Answer(conflicts=[clash])
    return Answer([[same(op.pos, d, size) for d, size in enumerate(op.shape)]])


@rule("pinverse linalg.pinv")
def pinverse(b: Bound) -> Answer:
    """Rows and columns change places."""
    op: Operand = b.first()
    if len(op.shape) < 2:
        raise Unknown
    order = list(range(len(op.shape)))
    order[-1], order[-2] = order[-2], order[-1]
    return Answer([[same(op.pos, d, op.shape[d]) for d in order]])


@rule("linalg.solve", "input other")
def solve(b: Bound) -> Answer:
    """The shape of the right-hand side, where it is one."""
    other = b.need("other")
    return Answer([[same(other.pos, d, s) for d, s in enumerate(other.shape)]])


@rule("trace")
def trace(b: Bound) -> Answer:
    """A scalar."""
    return Answer([[]])


@rule("pdist")
def pdist(b: Bound) -> Answer:
    """Every pair of rows."""
    op = b.first()
    if len(op.shape) != 2:
        raise Unknown
    n = op.shape[0]
    origin, _ = made("window", None)
    pairs = n * (n - 1) // 2
    dim = joined(origin.how, ((op.pos, 0),), pairs, f"{n}·({n} - 1) / 2")
    return Answer([[dim]])
