"""A way back as a reader's lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from math import prod

from shapetrace.lineage.graph import Graph
from shapetrace.lineage.hops import Call, End, Hop
from shapetrace.records import FunctionCall, ModuleCall, Step
from shapetrace.source.tree import is_own

PASSES = "passes it on"
#: where a way meets one that is told already
MEETS = "as above"

_HOW = {
    "same": PASSES,
    "broadcast": "broadcasts it",
    "window": "computes it",
    "product": "joins several dimensions",
    "split": "splits a dimension",
    "sum": "adds sizes up",
    "slice": "takes a part",
    "repeat": "repeats it",
    "parameter": "sets it",
    "argument": "sets it by an argument",
    "new": "adds this dimension",
    "values": "depends on values",
    "guess": "unknown; equal sizes only",
}
#: parts of one product or sum that are told in words
_PARTS = 4
#: characters of those words
_LENGTH = 100
#: hops that are looked at to tell where a part begins
_FAR = 1000
#: branch points of one lineage that are told in words: each costs a walk a part
_TOLD = 50


def describe(graph: Graph, call: Call) -> tuple[str, str]:
    """Name and type of a call as a reader knows it: the layer where torch's own layer
    made the call, else the function."""
    layer = graph.layer_of(call)
    if layer is not None:
        return graph.spoken(layer), layer.type
    assert isinstance(call, FunctionCall)
    return call.name, "function"


def make_step(
    graph: Graph,
    hop: Hop | tuple[int, Call],
    part: str = "",
    into: int | None = None,
    number: int = 0,
) -> Step:
    """One hop as a reader's line; `part`, `into` and `number` as in `Step`."""
    if isinstance(hop, Hop):
        tensor, call, dim, origin = hop.tensor, hop.call, hop.dim, hop.origin
        how = origin.note or _HOW[origin.how]
        sure = origin.sure
    else:
        (tensor, call), dim, how = hop, None, ""
        sure = call.index >= 0
    if call.index < 0:
        how = "a guess: the newest earlier tensor of as many elements"
    name, kind = describe(graph, call)
    layer = call if isinstance(call, ModuleCall) else graph.module_of(call)
    if kind != "function" and layer is not None and layer.name in graph.rec.modules:
        if any(root.name == "" for root in graph.rec.called):
            name = layer.name or name  # the only model's modules have their own names
    is_function = isinstance(call, FunctionCall) and call.index >= 0
    return Step(
        name=name,
        type=kind,
        shape=graph.tensors[tensor].shape,
        dim=dim,
        how=how,
        source=call.source,
        module=None if layer is None or prepares(graph, call) else layer.name,
        tensor=tensor,
        function=call.index if is_function else None,
        call=layer.index if layer is not None else None,
        sure=sure,
        part=part,
        into=into,
        number=number,
    )


def prepares(graph: Graph, call: Call) -> bool:
    """Whether a call is a step of a library's transform: what holds no parameters, and
    makes data of data."""
    if not isinstance(call, FunctionCall) or not call.outputs or is_own(call.source):
        return False
    if graph.from_model(call.outputs[0].id):
        return False
    root = graph.module_of(call)
    while root is not None and root.parent is not None:
        root = graph.module_of(root)
    inside = "" if root is None or not root.name else f"{root.name}."
    return root is not None and not any(
        info.parameters
        for name, info in graph.rec.modules.items()
        if name == root.name or name.startswith(inside)
    )


def steps(graph: Graph, tensor: int, dim: int | None = None) -> tuple[Step, ...]:
    """The calls behind a tensor, or behind one of its dimensions, newest first.

    Where a size is a product or a sum, the ways of its parts follow one after the
    other, each step marked with its part; what two parts share is told once, and the
    second of them ends where it meets the first.
    """
    if dim is None:
        return tuple(make_step(graph, hop) for hop in graph.chain(tensor))
    found: list[Step] = []
    walked: set[tuple[int, int]] = set()
    told: set[tuple[tuple[int, int, str], ...]] = set()
    branches = 0
    todo: list[tuple[int, int, int | None, int]] = [(tensor, dim, None, 0)]
    while todo:
        tensor, dim, into, number = todo.pop()
        part = "" if into is None else str(graph.size(tensor, dim))
        way: list[Hop] = []
        met: Hop | None = None
        end: End | None = None
        for item in graph.walk(tensor, dim):
            if isinstance(item, End):
                end = item
            elif (item.tensor, item.dim) in walked:
                met = item
                break
            else:
                walked.add((item.tensor, item.dim))
                way.append(item)
        # height and width go the same way: told once
        key = tuple(_same_in_twins(graph, hop) for hop in way)
        if not part or key not in told:
            told.add(key)
            found += [make_step(graph, hop, part, into, number) for hop in way]
            if met is not None and way:
                there = make_step(graph, met, part, into, number)
                found.append(replace(there, how=MEETS))
        if end is not None and end.kind == "branch":
            branches += 1
            if branches <= _TOLD:
                found[-1] = replace(found[-1], how=_parts(graph, end))
            for nth, source in reversed([*enumerate(end.sources)]):
                todo.append((*source, end.tensor, nth))
    return tuple(found)


def _same_in_twins(graph: Graph, hop: Hop) -> tuple[int, int, str]:
    """What is the same of two dimensions of one tensor that were made alike."""
    return hop.tensor, graph.size(hop.tensor, hop.dim), hop.origin.how


def _parts(graph: Graph, end: End) -> str:
    """`16·13·13: 16 is conv's out_channels, 13 begins as 28 at randn`."""
    assert end.origin is not None
    sign = "·" if end.origin.how == "product" else " + "
    sizes = [graph.size(*source) for source in end.sources]
    shown = [str(size) for size in sizes[:_PARTS]]
    if len(sizes) > _PARTS:
        shown.append("…")
    said: list[str] = []
    for source, size in list(zip(end.sources, sizes))[:_PARTS]:
        begins = _begins(graph, *source)
        line = f"{size} {begins}"
        if begins and line not in said and len(", ".join((*said, line))) < _LENGTH:
            said.append(line)
    formula = sign.join(shown)
    if end.origin.how == "product" and prod(sizes) != graph.size(end.tensor, end.dim):
        formula += f" of {end.origin.note}"
    return f"{formula}: {', '.join(said)}" if said else formula


def _begins(graph: Graph, tensor: int, dim: int) -> str:
    """Where one part begins, in words; "" where it is far or unknown."""
    end = None
    for item in islice(graph.walk(tensor, dim), _FAR):
        if isinstance(item, End):
            end = item
    if end is None:
        return ""
    name = describe(graph, end.call)[0] if end.call is not None else ""
    size = graph.size(end.tensor, end.dim)
    origin = end.origin
    if end.kind == "parameter":
        note = origin.note if origin is not None else ""
        return f"is {name}'s {note or 'parameter'}" if name else "is a parameter's"
    if end.kind == "data":
        if end.call is None:
            return f"begins as {size}, as it came in"
        return f"begins as {size} of {name} at {end.call.source}"
    if end.kind == "argument" and origin is not None:
        return f"is set by {origin.note or name}"
    if end.kind == "branch" and origin is not None:
        return f"is made of {origin.note} by {name}"
    return ""


def way_of(step: Step) -> tuple[str, int | None, int]:
    """What the steps of one way have in common: the part whose way it is."""
    return step.part, step.into, step.number


def of_the_user(steps: Sequence[Step]) -> tuple[Sequence[Step], Sequence[Step]]:
    """The steps of the user's lines and modules, and those that libraries make of
    data, of each part of a size: transforms, the collating of a batch, its move."""
    kept: list[Step] = []
    left_out: list[Step] = []
    begun: set[str] = set()  # the parts of which an older step is the user's
    entered: set[str] = set()  # and those of which one is a module's
    for step in reversed(steps):
        inside = step.module is not None or step.source is None
        if not inside and not is_own(step.source):
            passes = step.how in ("", PASSES) and step.part not in entered
            if passes or step.part not in begun:
                left_out.append(step)
                continue
        begun.add(step.part)
        if step.module is not None:
            entered.add(step.part)
        kept.append(step)
    if left_out and not kept:
        kept.append(left_out.pop())
    return kept[::-1], left_out[::-1]


def fold(found: Iterable[Step], least: int = 3) -> tuple[Step, ...]:
    """The steps with stretches that only pass the size on put into one step each.

    Such a step has a `count` above 1 and is named by its newest and oldest call. The
    first and the last step, and stretches shorter than `least`, stay as they are.

    >>> passing = Step("relu", "function", (2, 5), dim=0, how=PASSES)
    >>> [step.name for step in fold([passing] * 5)]
    ['relu', '… 3 steps', 'relu']
    """
    every = list(found)
    folded: list[Step] = []
    stretch: list[Step] = []

    def flush() -> None:
        if len(stretch) < least:
            folded.extend(stretch)
        else:
            folded.append(_stretch(stretch))
        stretch.clear()

    for at, step in enumerate(every):
        older = every[at + 1] if at + 1 < len(every) else None
        ends = at == 0 or older is None
        if stretch and way_of(stretch[-1]) != way_of(step):
            flush()
        if not ends and step.sure and _passes(step, older):
            stretch.append(step)
            continue
        flush()
        folded.append(step)
    flush()
    return tuple(folded)


def _passes(step: Step, older: Step | None) -> bool:
    if step.dim is not None:
        return step.how == PASSES
    return older is not None and step.shape == older.shape


def _stretch(steps: list[Step]) -> Step:
    first = steps[0]
    return Step(
        name=f"… {len(steps)} steps",
        type="",
        shape=first.shape,
        dim=first.dim,
        how=f"pass it on, from {steps[-1].name} to {first.name}",
        part=first.part,
        into=first.into,
        number=first.number,
        count=len(steps),
    )
