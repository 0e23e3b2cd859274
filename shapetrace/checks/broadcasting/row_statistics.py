"""Which matrix a statistic of rows or columns belongs to, and along which dimension."""

from __future__ import annotations

from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.signatures import is_elementwise, kind

_REDUCES = ("reduce", "total", "choose")
#: what makes a number of each number
_EACH = ("pointwise", "power", "activation", "sigmoid", "mask", "sum", "scale")
_SAME = ("copy", "cast", "detach")
_DROPS = ("unit", "view")
#: by which the code puts a statistic where it wants it
_PLACED = ("unit", "view", "expand", "pick", "repeat", "product", "batch_product")
_DIAGONALS = ("diag", "diag_embed", "diagflat")
#: calls between a statistic and its matrix, and where it meets it
_NEAR = 8


def statistic_of(
    context: CheckContext, call: FunctionCall, low: TensorRef, tall: TensorRef
) -> tuple[FunctionCall, list[int | None]] | None:
    """The reduction that an operand is, made to by itself number by number or not, of
    the other one or of what that was made of entry by entry; with the dimension of the
    matrix that each of its dimensions is."""
    ref, places = low, list[int | None](range(len(low.shape)))
    for _ in range(_NEAR):
        made = context.made_by(ref.id)
        if made is None or not made.inputs or not made.outputs:
            return None
        relation = context.graph.relation(made)
        which = [out.id for out in made.outputs].index(ref.id)
        if which or len(relation.outputs) <= which:
            return None
        origins = relation.outputs[which]
        if len(origins) != len(ref.shape):
            return None
        places = [
            _place(origins[place], made) if place is not None else None
            for place in places
        ]
        given = made.inputs[0]
        if kind(made.name) in _REDUCES:
            if given.shape != tall.shape:
                return None
            if given.id == tall.id and made.outputs[0].id == low.id:
                return made, places
            if not _frees(call, low) or _is_placed(context, low, made):
                return None
            shared = _entries(context, given) & _entries(context, tall)
            return (made, places) if shared else None
        drops = kind(made.name) in _DROPS and len(given.shape) > len(ref.shape)
        one = len(made.inputs) == 1 and given.shape == ref.shape
        if not drops and not (one and _is_of_each(made)):
            return None
        ref = given
    return None


def _place(origin: object, made: FunctionCall) -> int | None:
    """The dimension of the first operand that a dimension is for certain."""
    sources = [d for at, d in getattr(origin, "sources", ()) if at == 0]
    return sources[0] if getattr(origin, "sure", False) and len(sources) == 1 else None


def _is_of_each(call: FunctionCall) -> bool:
    return kind(call.name) in (*_EACH, *_SAME) or is_elementwise(call.name)


def _frees(call: FunctionCall, low: TensorRef) -> bool:
    """Whether a tensor is freed from a statistic, or divided by it."""
    name = plain(call.name)
    if name in ("sub", "rsub", "subtract"):
        return True
    return name in ("div", "divide", "true_divide") and call.inputs[-1].id == low.id


def _is_placed(context: CheckContext, low: TensorRef, made: FunctionCall) -> bool:
    """Whether a statistic is put along another dimension elsewhere: rows and columns
    are both divided by it."""
    ref: TensorRef | None = low
    while ref is not None:
        for user, _ in context.follow(ref.id):
            if kind(user.name) in _PLACED or user.name in _DIAGONALS:
                if user.outputs and len(user.outputs[0].shape) > len(ref.shape):
                    return True
                if kind(user.name) in ("product", "batch_product"):
                    return True
        maker = context.made_by(ref.id)
        ref = None if maker is None or maker is made else maker.inputs[0]
    return False


def _entries(context: CheckContext, ref: TensorRef) -> set[int]:
    """The tensors of which a matrix was made entry by entry, itself included."""
    found, todo = {ref.id}, [(ref, 0)]
    while todo:
        one, count = todo.pop()
        made = context.made_by(one.id)
        if made is None or count >= _NEAR or not _is_of_each(made):
            continue
        for given in made.inputs:
            if given.shape == ref.shape and given.id not in found:
                found.add(given.id)
                todo.append((given, count + 1))
    return found


def may_be_symmetric(
    context: CheckContext, matrix: TensorRef, row: int, column: int
) -> bool:
    """Whether a matrix may be the same both ways: one of all pairs of one batch, unless
    it is a product of two different tensors."""
    axes = context.axes
    if not axes.roots(matrix.id, row) & axes.roots(matrix.id, column):
        return False
    for tensor in _entries(context, matrix):
        made = context.made_by(tensor)
        if made is not None and kind(made.name) in ("product", "batch_product"):
            pair = made.inputs[-2:]
            if len(pair) == 2:
                return _begin(context, pair[0]) == _begin(context, pair[1])
    return True


def _begin(context: CheckContext, ref: TensorRef) -> int:
    """What a tensor was made of by itself, whole."""
    tensor = ref.id
    made = context.made_by(tensor)
    while made is not None and len({one.id for one in made.inputs}) == 1:
        if kind(made.name) == "pick":
            break
        tensor = made.inputs[0].id
        made = context.made_by(tensor)
    return tensor
