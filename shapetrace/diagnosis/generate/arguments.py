"""A call of the user's with another number or another dimension among its arguments."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import permutations
from math import prod
from typing import Any

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.generate.own_calls import own_calls
from shapetrace.diagnosis.hypothesis import Hypothesis, Written
from shapetrace.diagnosis.repair.changes import (
    expression,
    method,
    recalled,
    with_argument,
)
from shapetrace.records import FunctionCall
from shapetrace.signatures import is_method, parameters
from shapetrace.source.line import find

_VIEWS = ("view", "reshape")
_ORDERING = ("permute", "transpose", "swapaxes", "movedim")
_DIMS = ("dim", "dim0", "dim1", "start_dim", "end_dim", "axis")
#: their numbers are no sizes
_NO_SIZES = (
    *_ORDERING,
    *("cat", "stack", "softmax", "squeeze", "unsqueeze", "getitem", "setitem"),
)


def numbers(case: Case) -> Iterator[Hypothesis | None]:
    """Sizes that a call was given: in proportion, by the difference, left to torch."""
    ratios = [(spot.size, wanted) for spot, wanted in case.mismatch.wanted]
    for call in own_calls(case):
        if call.name.rstrip("_") in _NO_SIZES:
            continue
        given = list(places(call))
        if call.name in _VIEWS:
            yield from _views(case, call, [value for _, value in given])
        times = len(case.passed.intersection(one.index for one in case.alike(call)))
        for path, value in given:
            for new in _candidates(value, ratios, max(times, 1)):
                yield with_number(case, call, path, value, new)


def places(call: FunctionCall) -> Iterator[tuple[str, int]]:
    """The whole numbers among a call's arguments, by path; those that name dimensions
    are none of them."""
    index = {place: name for name, place in parameters(call).items()}
    for at, arg in enumerate(call.args):
        name = index.get(at, "")
        if name in _DIMS or name.startswith("dim"):
            continue
        yield from _in(f"args[{at}]", arg)
    for name, arg in call.kwargs.items():
        if name not in _DIMS and not name.startswith("dim"):
            yield from _in(f"kwargs['{name}']", arg)


def _in(path: str, value: Any) -> Iterator[tuple[str, int]]:
    if type(value) is int and value >= -1:  # below are no sizes
        yield path, value
    elif isinstance(value, (tuple, list)):
        for at, part in enumerate(value):
            if type(part) is int:
                yield f"{path}[{at}]", part


def _candidates(value: int, ratios: list[tuple[int, int]], times: int) -> list[int]:
    """Numbers in proportion, and by the difference, of which a line that the size came
    through several times makes a part each time."""
    found = []
    for size, wanted in ratios:
        if size and (value * wanted) % size == 0:
            found.append(value * wanted // size)
        found.append(wanted)
        found += [value + (wanted - size) // times] * ((wanted - size) % times == 0)
    return [new for new in dict.fromkeys(found) if new > 0 and new != value][:6]


def with_number(
    case: Case, call: FunctionCall, path: str, old: int, new: int
) -> Hypothesis | None:
    """One number replaced, where the user wrote one."""

    def changed(one: FunctionCall) -> FunctionCall | None:
        size = _as_there(call, one, new)
        return put(one, path, size) if get(one, path) == old else None

    def write() -> Written | None:
        line = find(call.source)
        node = None if line is None else line.argument(path, is_method(call))
        if node is None and call.name == "pad":
            # amounts that were computed elsewhere: no sizes, so written out as they are
            whole = path.rpartition("[")[0]
            return with_argument(call, (whole,), str(get(put(call, path, new), whole)))
        if node is None:
            return None
        size = str(new) if isinstance(node, ast.Constant) or new == -1 else None
        size = size or case.spelled_size(call, new, _own(call, new), node)
        return with_argument(call, (path,), size) if size is not None else None

    words = f"{new} instead of {old}"
    reason = f"asks for {old}"
    made = recalled(case, call, changed, write, words, "number", reason=reason)
    return made and replace(made, size=old, expected=new)


def _own(call: FunctionCall, size: int) -> set[tuple[int, int]]:
    """The one dimension of the call's own tensor that has a size."""
    first = call.inputs[:1]
    return {(r.id, r.shape.index(size)) for r in first if r.shape.count(size) == 1}


def _as_there(call: FunctionCall, other: FunctionCall, size: int) -> int:
    """A size of a call's own tensor as another call of that line has it."""
    there = other.inputs[0].shape if other.inputs else ()
    return next((there[d] for _, d in _own(call, size) if d < len(there)), size)


def get(call: FunctionCall, path: str) -> Any:
    """The argument at a path; None where there is none."""
    value: Any = call.args if path.startswith("args") else call.kwargs
    for step in _steps(path):
        try:
            value = value[step]
        except (IndexError, KeyError, TypeError):
            return None
    return value


def put(call: FunctionCall, path: str, new: Any) -> FunctionCall:
    """The call with another argument at a path."""
    first, *rest = _steps(path)

    def inner(value: Any, steps: list[Any]) -> Any:
        if not steps:
            return new
        return type(value)(
            inner(part, steps[1:]) if at == steps[0] else part
            for at, part in enumerate(value)
        )

    if path.startswith("args"):
        args = list(call.args)
        args[first] = inner(args[first], rest)
        return replace(call, args=tuple(args))
    kwargs = dict(call.kwargs)
    kwargs[first] = inner(kwargs.get(first), rest)
    return replace(call, kwargs=kwargs)


def _steps(path: str) -> list[Any]:
    parts = path.partition("[")[2][:-1].split("][")
    return [part[1:-1] if part[0] == "'" else int(part) for part in parts]


def _views(
    case: Case, call: FunctionCall, sizes: list[int]
) -> Iterator[Hypothesis | None]:
    """A view with the batch kept, one size left to torch, or a dimension kept whole."""
    shape = call.inputs[0].shape
    if not shape or not sizes:
        return
    total, rank = prod(shape), len(shape)
    if rank > 1 and len(sizes) <= 2:
        yield from _flat(case, call)
    for place in range(len(sizes)):
        asked = [-1 if at == place else size for at, size in enumerate(sizes)]
        rest = prod(size for size in asked if size != -1)
        if asked.count(-1) == 1 and asked != sizes and rest and total % rest == 0:
            yield _asked(case, call, place, asked, f"leaves dim {place} to torch")
    if -1 in sizes:
        for place, size in enumerate(sizes):
            rest = prod(n for at, n in enumerate(sizes) if n != -1 and at != place)
            for width in dict.fromkeys(shape):
                if size not in (-1, width) and rest and total % (rest * width) == 0:
                    asked = [width if at == place else n for at, n in enumerate(sizes)]
                    yield _asked(case, call, place, asked, f"keeps {width} in it")
    if len(sizes) > 1 and sizes[0] != shape[0]:
        asked = [shape[0], *sizes[1:]]
        if -1 not in asked[1:] and prod(asked[1:]) * shape[0] != total:
            asked = [shape[0], -1, *sizes[2:]]
        yield _kept(case, call, asked)


def _flat(case: Case, call: FunctionCall) -> Iterator[Hypothesis | None]:
    """All dimensions joined but the batch."""

    def write() -> Written | None:
        plain = call.name != "flatten" and _object(call).isidentifier()
        view = f"{{}}.{call.name}({{}}.size(0), -1)"
        return expression(call, view if plain else "{}.flatten(1)")

    words = "joins all dimensions but the batch"
    reason = f"makes {_sizes(call)} of {call.inputs[0].shape}"
    yield recalled(
        case,
        call,
        lambda one: method(one, "flatten", 1),
        write,
        words,
        "number",
        reason=reason,
    )


def _object(call: FunctionCall) -> str:
    """The code of the tensor whose method is called."""
    line = find(call.source)
    node = None if line is None else line.argument("args[0]", True)
    return line.text(node) if line is not None and node is not None else ""


def _sizes(call: FunctionCall) -> str:
    """What a view asks for, in words."""
    if call.outputs:
        return str(call.outputs[0].shape)
    return str(tuple(value for _, value in places(call)))


def _kept(case: Case, call: FunctionCall, asked: list[int]) -> Hypothesis | None:
    """A view whose first size is that of its input's batch."""

    def write() -> Written | None:
        name = _object(call)
        if not name.isidentifier():
            return None
        return with_argument(call, (_path(call, 0),), f"{name}.size(0)")

    return recalled(
        case,
        call,
        lambda one: method(one, one.name, one.inputs[0].shape[0], *asked[1:]),
        write,
        f"keeps the batch of {asked[0]}",
        "number",
        reason=f"makes {_sizes(call)} of {call.inputs[0].shape}",
    )


def _asked(
    case: Case, call: FunctionCall, place: int, asked: list[int], words: str
) -> Hypothesis | None:
    ate = asked[place] == -1 and place == 0 and len(call.inputs[0].shape) > 1
    loses = "the batch is no longer what the samples are" if ate else ""
    return recalled(
        case,
        call,
        lambda one: method(one, one.name, *asked),
        lambda: with_argument(call, (_path(call, place),), str(asked[place])),
        words,
        "number",
        loses,
        f"view {call.index}",
        f"makes {_sizes(call)} of {call.inputs[0].shape}",
    )


def _path(call: FunctionCall, place: int) -> str:
    listed = len(call.args) == 2 and isinstance(call.args[1], (list, tuple))
    return f"args[1][{place}]" if listed else f"args[{place + 1}]"


#: where functions take two dimensions that they swap
_SWAPPED = dict.fromkeys(("transpose", "swapaxes", "swapdims"), (1, 2))


def dims(case: Case) -> Iterator[Hypothesis | None]:
    """Another dimension, another order of dimensions, or `keepdim` the other way."""
    for call in own_calls(case):
        name = call.name.rstrip("_")
        if not call.inputs:
            continue
        rank = len(call.inputs[0].shape)
        if name == "permute":
            yield from _orders(case, call, rank)
            continue
        if name == "flatten" and rank > 1 and _takes_batch(call):
            yield from _flat(case, call)
        index = parameters(call)
        for param, place in index.items():
            path = f"kwargs['{param}']" if param in call.kwargs else f"args[{place}]"
            value = get(call, path)
            if param in _DIMS and type(value) is int:
                span = rank + (name in ("unsqueeze", "stack"))
                # two that are swapped: with itself, a dimension stays where it is
                taken = {get(call, f"args[{at}]") for at in _SWAPPED.get(name, ())}
                taken = {one % span for one in taken | {value} if type(one) is int}
                for other in range(span):
                    if other not in taken:
                        new = other - span if value < 0 else other
                        yield _with_dim(case, call, path, param, value, new)
            elif param in ("dim", "dims") and param not in call.kwargs:
                if name in ("cat", "stack", "concat", "concatenate"):
                    span = rank + (name == "stack")
                    for other in range(1, span):
                        yield _added(case, call, "dim", other)
            if case.mismatch.silent:
                continue  # a dimension of 1 kept or dropped is an edit of an operand
            if param == "keepdim" and type(value) is bool:
                yield _with_dim(case, call, path, param, value, not value)
            elif param == "keepdim" and value is None and _has_dim(call):
                yield _added(case, call, "keepdim", True)


def _takes_batch(call: FunctionCall) -> bool:
    """Whether a call's output begins with another dimension than its input."""
    made = call.outputs or ()
    return bool(made) and made[0].shape[:1] != call.inputs[0].shape[:1]


def _has_dim(call: FunctionCall) -> bool:
    return "dim" in call.kwargs or len(call.args) > 1


def _with_dim(
    case: Case, call: FunctionCall, path: str, param: str, old: Any, new: Any
) -> Hypothesis | None:
    def changed(one: FunctionCall) -> FunctionCall | None:
        return put(one, path, new) if get(one, path) == old else None

    paths = (path, f"kwargs['{param}']")
    words = f"{param}={new} instead of {old}"
    reason = f"works on {param}={old}"

    def write() -> Written | None:
        return with_argument(call, paths, str(new))

    return recalled(case, call, changed, write, words, "dim", reason=reason)


def _added(case: Case, call: FunctionCall, param: str, new: Any) -> Hypothesis | None:
    """An argument that was left to its default."""

    def changed(one: FunctionCall) -> FunctionCall | None:
        return replace(one, kwargs={**one.kwargs, param: new})

    def write() -> Written | None:
        line = find(call.source)
        text = line.with_keyword(param, str(new)) if line is not None else None
        return None if line is None or text is None else (text, line.source)

    words = f"{param}={new}"
    reason = f"works with {'dim=0' if param == 'dim' else 'no keepdim'}"
    return recalled(case, call, changed, write, words, "dim", reason=reason)


def _orders(case: Case, call: FunctionCall, rank: int) -> Iterator[Hypothesis | None]:
    if rank > 4:
        return
    listed = len(call.args) == 2 and isinstance(call.args[1], (list, tuple))
    given = tuple(call.args[1]) if listed else tuple(call.args[1:])
    orders = list(permutations(range(rank)))
    if len(given) != rank:
        # what was written for one sample, behind the samples
        behind = (dim % len(given) + 1 for dim in given if type(dim) is int)
        orders = [(0, *behind)] if len(given) == rank - 1 else []
    for order in orders:
        same = tuple(dim % rank for dim in given if type(dim) is int)
        if order in (same, tuple(range(rank))):
            continue  # or the call is better left out
        inside = ", ".join(map(str, order))
        yield recalled(
            case,
            call,
            partial(_permuted, order=order),
            partial(expression, call, f"{{}}.permute({inside})"),
            f"({inside}) instead of {given}",
            "dim",
            reason=f"puts the dimensions in the order {given}",
        )


def _permuted(call: FunctionCall, order: tuple[int, ...]) -> FunctionCall:
    return method(call, "permute", *order)
