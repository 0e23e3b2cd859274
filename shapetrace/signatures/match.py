"""One signature held against one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shapetrace.signatures.answer import Answer, Dim, Unknown, made, of
from shapetrace.signatures.binding import Bound, Operand
from shapetrace.signatures.broadcasting import Part, broadcast
from shapetrace.signatures.language import DimSpec, OperandSpec, Signature
from shapetrace.signatures.relation import Conflict, DimOrigin, Side
from shapetrace.signatures.windows import WINDOWS

#: where a name was met: input position (None: an argument), dimension, size, learned
Place = tuple[int | None, int, int, bool]

_VARIADIC = ("star", "optional", "ellipsis")


@dataclass(slots=True)
class _Match:
    """The names bound so far."""

    b: Bound
    answer: Answer = field(default_factory=Answer)
    names: dict[str, list[Place]] = field(default_factory=dict)
    stars: dict[str, list[list[Place]]] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    ranks: list[Conflict] = field(default_factory=list)


def match_best(signatures: Sequence[Signature], b: Bound) -> Answer:
    """The first alternative whose numbers of dimensions fit; else why none does."""
    nearest: _Match | None = None
    for signature in signatures:
        if len(signatures) > 1 and not _plausible(signature, b):
            continue
        found = _match(signature, b)
        if not found.ranks:
            return _finish(signature, found)
        if nearest is None or len(found.ranks) < len(nearest.ranks):
            nearest = found
    if nearest is None:
        tries = [_match(signature, b) for signature in signatures]
        nearest = min(tries, key=_farness)
    answer = nearest.answer
    answer.conflicts = nearest.ranks + answer.conflicts
    if len(signatures) > 1:
        answer.conflicts[:1] = _rank_among(signatures, b) or answer.conflicts[:1]
    return answer


def _farness(found: _Match) -> tuple[int, int]:
    """By how many dimensions the worst operand is off, and how many are."""
    off = [abs(clash.left.size - clash.right.size) for clash in found.ranks]
    return max(off, default=0), len(off)


def _plausible(signature: Signature, b: Bound) -> bool:
    """Whether no operand has another number of dimensions than a fixed one."""
    for spec in signature.operands:
        if spec.rank >= 0:
            op = b.tensor(spec.param)
            if op is not None and len(op.shape) != spec.rank:
                return False
    return True


def _rank_among(signatures: Sequence[Signature], b: Bound) -> list[Conflict]:
    """The conflict of the first operand's rank with every alternative, if so."""
    param = signatures[0].operands[0].param
    op = b.tensor(param)
    fixed: set[int] = set()
    for signature in signatures:
        dims = signature.operands[0].dims
        if any(dim.kind in _VARIADIC for dim in dims):
            return []
        fixed.add(len(dims))
    if op is None or len(op.shape) in fixed:
        return []
    text = " or ".join(f"{rank}-D" for rank in sorted(fixed))
    wanted = Side(None, None, max(fixed), text)
    return [Conflict("rank", param, Side(op.pos, None, len(op.shape), param), wanted)]


def _match(signature: Signature, b: Bound) -> _Match:
    """Binds every operand that is there."""
    found = _Match(b)
    for spec in signature.operands:
        if spec.argument:
            _bind_argument(found, spec)
    for spec in signature.operands:
        if spec.argument:
            continue
        value = b.value(spec.param)
        if value is None or isinstance(value, (int, float)):
            if spec is signature.operands[0]:
                raise Unknown
            continue
        op = b.tensor(spec.param)
        if op is None:
            if spec is signature.operands[0]:
                raise Unknown
            continue
        _bind(found, spec, op, signature)
    return found


def _bind_argument(found: _Match, spec: OperandSpec) -> None:
    """A shape among the arguments, as `normalized_shape`."""
    value = found.b.value(spec.param)
    if isinstance(value, int):
        value = (value,)
    if not isinstance(value, (tuple, list)):
        return
    sizes: list[Place] = []
    for dim, size in enumerate(value):
        if not isinstance(size, int):
            return
        sizes.append((None, dim, size, True))
    for dim_spec in spec.dims:
        found.stars.setdefault(dim_spec.name, []).append(sizes)


def _bind(found: _Match, spec: OperandSpec, op: Operand, signature: Signature) -> None:
    """One tensor operand: its dimensions get the names of the signature."""
    dims = spec.dims
    shape = op.shape
    rank = len(shape)
    widths = _widths(found, spec, rank)
    if widths is None:
        found.ranks.append(_bad_rank(found, spec, op))
        return
    at = 0
    roles = found.answer.roles
    for dim, width in zip(dims, widths):
        kind = dim.kind
        if kind == "name":
            roles[op.pos, at] = dim.name
            _meet(found, dim.name, (op.pos, at, shape[at], spec.learned))
        elif kind == "ellipsis":
            part = shape[at : at + width]
            label = "" if signature.name in ("matmul", "bmm") else spec.param
            found.parts.append((op.pos, at, part, label))
        elif kind in ("star", "optional"):
            entries: list[Place] = []
            for i in range(at, at + width):
                roles[op.pos, i] = dim.name
                entries.append((op.pos, i, shape[i], spec.learned))
            _meet_star(found, dim.name, entries, spec, op)
        elif kind == "quotient":
            _meet_quotient(found, dim, op, at, spec)
        elif shape[at] != dim.value:
            left = Side(op.pos, at, shape[at], spec.param)
            right = Side(None, None, dim.value)
            found.answer.conflicts.append(Conflict("size", spec.param, left, right))
        at += width


def _widths(found: _Match, spec: OperandSpec, rank: int) -> list[int] | None:
    """How many dimensions each item takes; None when the rank does not fit."""
    if spec.rank >= 0:
        return [1] * rank if rank == spec.rank else None
    variadic = [dim for dim in spec.dims if dim.kind in _VARIADIC]
    if not variadic:
        return [1] * rank if rank == len(spec.dims) else None
    left = rank - len(spec.dims) + len(variadic)
    if left < 0:
        return None
    free: DimSpec | None = variadic[0]
    known: dict[str, int] = {}
    if len(variadic) > 1:
        known = {
            dim.name: len(found.stars[dim.name][0])
            for dim in variadic
            if dim.name in found.stars
        }
        unknown = [dim for dim in variadic if dim.name not in known]
        free = unknown[0] if unknown else None
        left -= sum(known.values())
        if len(unknown) > 1:
            raise Unknown
        if left < 0 or (free is None and left):
            return None
    if free is not None and free.kind == "optional" and left > 1:
        return None
    return [
        1 if dim.kind not in _VARIADIC else left if dim is free else known[dim.name]
        for dim in spec.dims
    ]


def _bad_rank(found: _Match, spec: OperandSpec, op: Operand) -> Conflict:
    """The operand's rank against what its signature allows."""
    fixed = sum(dim.kind not in _VARIADIC for dim in spec.dims)
    optional = sum(dim.kind == "optional" for dim in spec.dims)
    for dim in spec.dims:
        if dim.kind == "star" and dim.name in found.stars:
            fixed += len(found.stars[dim.name][0])
    text = f"{fixed}-D or {fixed + 1}-D" if optional else f"{fixed}-D"
    wanted = Side(None, None, fixed + optional, text)
    rank = Side(op.pos, None, len(op.shape), spec.param)
    if spec.param in ("target", "targets"):
        return Conflict("rank", spec.param, Side(0, None, fixed, text), rank)
    return Conflict("rank", spec.param, rank, wanted)


def _side(place: Place, name: str) -> Side:
    pos, dim, size, _ = place
    return Side(pos, None if pos is None else dim, size, name)


def _meet(found: _Match, name: str, place: Place) -> None:
    """A name met again must have the size it had before."""
    seen = found.names.get(name)
    if seen is None:
        found.names[name] = [place]
        return
    if seen[0][2] != place[2]:
        left, right = seen[0], place
        if left[3] and not right[3]:
            left, right = right, left
        found.answer.conflicts.append(
            Conflict("size", name, _side(left, name), _side(right, name))
        )
    seen.append(place)


def _meet_star(
    found: _Match, name: str, entries: list[Place], spec: OperandSpec, op: Operand
) -> None:
    """A run of dimensions met again must have the same sizes."""
    seen = found.stars.get(name)
    if seen is None:
        found.stars[name] = [entries]
        return
    first = seen[0]
    if len(first) != len(entries):
        fits = len(op.shape) - len(entries) + len(first)
        owner = first[0][0] if first else 0
        left = Side(owner, None, fits, f"{fits}-D")
        right = Side(op.pos, None, len(op.shape), spec.param)
        found.ranks.append(Conflict("rank", spec.param, left, right))
        return
    for a, c in zip(first, entries):
        if a[2] != c[2]:
            left_place, right_place = (c, a) if a[3] and not c[3] else (a, c)
            found.answer.conflicts.append(
                Conflict(
                    "size", name, _side(left_place, name), _side(right_place, name)
                )
            )
    seen.append(entries)


def _meet_quotient(
    found: _Match, dim: DimSpec, op: Operand, at: int, spec: OperandSpec
) -> None:
    """`channels/groups`: the size times the argument is the name's size."""
    factor = found.b.value(dim.arg, 1)
    if not isinstance(factor, int) or factor < 1:
        raise Unknown
    found.answer.roles[op.pos, at] = dim.name
    _meet(found, dim.name, (op.pos, at, op.shape[at] * factor, spec.learned))


def _finish(signature: Signature, found: _Match) -> Answer:
    """The outputs, from the names that the operands bound."""
    answer = found.answer
    spread = broadcast(answer, found.parts) if found.parts else []
    outputs = [
        [entry for dim in dims for entry in _output(signature, found, dim, spread)]
        for dims in signature.outputs
    ]
    if answer.conflicts:
        return answer
    if signature.loss and _reduced(found.b):
        outputs = [[]]
    answer.outputs = outputs
    return answer


def _reduced(b: Bound) -> bool:
    """Whether a loss is a scalar: torch's default, unless told otherwise."""
    if b.value("reduce") is False:
        return False
    reduction = b.value("reduction", "mean")
    return reduction not in ("none", 0)


def _output(
    signature: Signature, found: _Match, dim: DimSpec, spread: list[Dim]
) -> list[Dim]:
    """What one item of an output stands for."""
    kind = dim.kind
    if kind == "ellipsis":
        return spread
    if kind == "literal":
        return [made("new", dim.value)]
    if kind in ("star", "optional"):
        runs = found.stars.get(dim.name)
        if runs is None:
            raise Unknown
        columns = zip(*runs)
        return [_passed(found.b, dim.name, list(column)) for column in columns]
    places = found.names.get(dim.name)
    if places is None:
        return [_argument(found.b, dim.name)]
    if kind == "window":
        return [_window(signature, found, dim, places[0])]
    return [_passed(found.b, dim.name, places)]


def _passed(b: Bound, name: str, places: list[Place]) -> Dim:
    """A dimension that has the size of its name."""
    data = tuple((p[0], p[1]) for p in places if not p[3] and p[0] is not None)
    if data:
        return DimOrigin("same", data), places[0][2]
    for pos, dim, size, _ in places:
        if pos is not None:
            own = b.shapes[pos][dim]
            note = name if own == size else f"{name} = {own}·{size // own}"
            return DimOrigin("parameter", ((pos, dim),), note), size
    return made("argument", places[0][2], name)


def _argument(b: Bound, name: str) -> Dim:
    """A number among the arguments."""
    size = b.value(name)
    if not isinstance(size, int):
        raise Unknown
    if size < 0:
        return made("values", None, name)
    return made("argument", size, f"{name}={size}")


def _window(signature: Signature, found: _Match, dim: DimSpec, place: Place) -> Dim:
    """A dimension that the function computes from one of its input's."""
    pos, at, size, _ = place
    if pos is None:
        raise Unknown
    primed = [d.name for d in signature.outputs[0] if d.kind == "window"]
    run = WINDOWS.get(signature.name)
    if run is None:
        raise Unknown
    how, result, note = run(found.b, primed.index(dim.name), size)
    if how == "argument":
        return made(how, result, note)
    return of(how, pos, at, result, note)
