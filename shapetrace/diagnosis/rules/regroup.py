"""Proposals for a view, flatten or squeeze of the user's that lost a dimension."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod

from shapetrace.diagnosis.hypothesis import Repair
from shapetrace.diagnosis.mismatch import Spot
from shapetrace.diagnosis.rules.blame_view import asked
from shapetrace.diagnosis.rules.desk import Candidate, Desk, method
from shapetrace.diagnosis.rules.widths import is_width, producers
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.source.constructor import constructor
from shapetrace.source.line import find, suffixed

Found = Iterator[Candidate | None]
_VIEWS = ("view", "reshape", "flatten")


def behind(
    desk: Desk, ref: TensorRef, names: tuple[str, ...]
) -> Iterator[FunctionCall]:
    """The user's calls of those functions on the way back of a tensor."""
    for _, call in desk.graph.chain(ref.id):
        if isinstance(call, FunctionCall) and call.direct and call.name in names:
            if call.inputs:
                yield call


def kept_squeeze(desk: Desk, ref: TensorRef) -> Found:
    """`squeeze()` drops a batch of one too: one dimension alone, by its number."""
    for call in behind(desk, ref, ("squeeze",)):
        if len(call.args) > 1 or call.kwargs:
            continue
        shape = call.inputs[0].shape
        for dim in reversed(range(1, len(shape))):
            if shape[dim] == 1:
                yield desk.recall(
                    call,
                    method(call, "squeeze", dim),
                    f"{{}}.squeeze({dim})",
                    f"squeezes dim {dim} alone and keeps the batch",
                )


def keep_batch(desk: Desk, ref: TensorRef) -> Found:
    """A view that regrouped over the batch: everything but the batch is joined."""
    for call in behind(desk, ref, _VIEWS):
        shape = call.inputs[0].shape
        made = desk.graph.tensors[call.outputs[0].id].shape if call.outputs else ()
        if len(shape) < 2 or made[:1] == shape[:1] or len(made) > 2:
            continue
        yield from _flat(desk, call)


def _flat(desk: Desk, call: FunctionCall) -> Found:
    words = "joins all dimensions but the batch"
    flat = method(call, "flatten", 1)
    line = find(call.source)
    node = None if line is None else line.argument("args[0]")
    if call.name in ("view", "reshape") and line is not None and node is not None:
        name = line.text(node)
        if name.isidentifier():
            text = f"{{}}.{call.name}({{}}.size(0), -1)"
            yield desk.recall(call, flat, text, words)
            return
    yield desk.recall(call, flat, "{}.flatten(1)", words)


def fuller(desk: Desk, ref: TensorRef) -> Found:
    """The layer before a view that merged samples, as wide as one sample's part."""
    for call in behind(desk, ref, ("view", "reshape")):
        shape, sizes = call.inputs[0].shape, asked(call)
        made = desk.graph.tensors[call.outputs[0].id].shape if call.outputs else ()
        if len(shape) == 2 and sizes[:1] == (-1,) and made[:1] != shape[:1]:
            spot = Spot(call.inputs[0].id, 1, shape[1])
            yield from producers(desk, spot, prod(sizes[1:]))


def flat_instead(desk: Desk, ref: TensorRef) -> Found:
    """The same for a layer's input, whatever the view made of the batch."""
    for call in behind(desk, ref, _VIEWS):
        if len(call.inputs[0].shape) > 1:
            yield from _flat(desk, call)


def other_view(desk: Desk, call: FunctionCall) -> Found:
    """A view of a number of elements that the tensor has not: the batch kept and one
    number left to torch."""
    shape, wanted = call.inputs[0].shape, asked(call)
    if not shape or not wanted:
        return
    if len(wanted) == 2 and len(shape) > 1:
        for candidate in _flat(desk, call):
            if candidate is not None:
                ahead = _waiting(desk, call, wanted[1], prod(shape[1:]))
                yield replace(candidate, ahead=ahead)
    total = prod(shape)
    for place in (*range(1, len(wanted)), 0):
        sizes = [-1 if at == place else size for at, size in enumerate(wanted)]
        if sizes.count(-1) != 1 or sizes == list(wanted):
            continue
        rest = prod(size for size in sizes if size != -1)
        if rest and total % rest == 0:
            made = _with_number(desk, call, place, sizes)
            yield None if made is None else replace(made, once="view")
    last = desk.graph.trail(call.inputs[0].id, len(shape) - 1).end
    if -1 in wanted and last.kind == "parameter":
        for place, size in enumerate(wanted):
            rest = prod(n for at, n in enumerate(wanted) if n != -1 and at != place)
            width = shape[-1]
            if size != -1 and size != width and total % (rest * width) == 0:
                sizes = [width if at == place else n for at, n in enumerate(wanted)]
                yield _with_number(desk, call, place, sizes)


def _waiting(desk: Desk, call: FunctionCall, asked: int, made: int) -> str:
    """A layer beside the view that was not reached, and takes what the view asked for:
    it would not take what the other view gives."""
    module = desk.graph.module_of(call)
    if module is None or asked == made:
        return ""
    reached = {other.name for other in desk.graph.rec.calls}
    prefix = f"{module.name}." if module.name else ""
    for name, info in desk.graph.rec.modules.items():
        inside = name.startswith(prefix) and name not in reached
        if inside and info.attributes.get("in_features") == asked:
            text = constructor(info, in_features=made) or "another width"
            return f"then {name} expects in_features={asked}, gets {made}: {text}"
    return ""


def _with_number(
    desk: Desk, call: FunctionCall, place: int, sizes: list[int]
) -> Candidate | None:
    """The same line with one of the numbers replaced."""
    line = find(call.source)
    if line is None or call.name not in ("view", "reshape"):
        return None
    words = f"leaves dim {place} to torch"
    if sizes[place] != -1:
        words = f"keeps {sizes[place]} in dim {place}"
    text = ", ".join(str(size) for size in sizes)
    expression = f"{{}}.{call.name}({text})"
    made = desk.recall(call, method(call, call.name, *sizes), expression, words)
    listed = len(call.args) == 2 and isinstance(call.args[1], (list, tuple))
    path = f"args[1][{place}]" if listed else f"args[{place + 1}]"
    node = line.argument(path)
    if made is None or node is None:
        return made
    return replace(made, line=line.with_part(node, str(sizes[place])))


def shorter_before(desk: Desk, prediction: TensorRef, target: TensorRef) -> Found:
    """Prediction and target joined batch and length into one dimension before they
    met: the longer one is cut before that."""
    a = next(behind(desk, prediction, _VIEWS), None)
    b = next(behind(desk, target, _VIEWS), None)
    if a is None or b is None:
        return
    first, second = a.inputs[0].shape, b.inputs[0].shape
    if len(first) < 2 or len(second) < 2 or first[0] != second[0]:
        return
    longer, size = (a, second[1]) if first[1] > second[1] else (b, first[1])
    if is_width(desk.graph, longer.inputs[0].id, 1):
        return
    yield _cut_view(desk, longer, size, "target" if longer is b else "input")


def _cut_view(
    desk: Desk, call: FunctionCall, size: int, about: str
) -> Candidate | None:
    """`x.view(…)` as `x[:, :size].reshape(…)`: what is cut is no longer contiguous."""
    line = find(call.source)
    node = None if line is None else line.argument("args[0]")
    if line is None or node is None or not call.direct:
        return None
    ref = call.inputs[0]
    shape = (ref.shape[0], size, *ref.shape[2:])
    first = replace(ref, shape=shape)
    text = line.with_part(node, suffixed(line.text(node), node, f"{{}}[:, :{size}]"))
    code = line.code
    if call.name == "view":
        head, dot, tail = text.rpartition(".view(")
        if text.count(".view(") != 1 and code.count(".view(") != 1:
            return None
        at = text.find(f"[:, :{size}].view(")
        if at < 0:
            return None
        text = text[:at] + text[at:].replace(".view(", ".reshape(", 1)
    args = tuple(_regrown(arg, ref.shape, shape) for arg in call.args[1:])
    new = replace(
        call,
        name="reshape" if call.name == "view" else call.name,
        qualname=call.qualname.replace(".view", ".reshape"),
        inputs=(first, *call.inputs[1:]),
        args=(first, *args),
    )
    words = f"keeps the first {size} of dim 1, as many as the other side has"
    # the object itself is another tensor there: an edit cannot say it, the call does
    repair = Repair(calls={call.index: new})
    return Candidate(text, words, line.source, repair, about)


def _regrown(arg: object, old: tuple[int, ...], new: tuple[int, ...]) -> object:
    """A number that was the joined size, as it would be afterwards."""
    joined = prod(old[:2])
    return prod(new[:2]) if arg == joined else arg
