"""The calls behind a size, as suspects: who could have put it there, and how firmly."""

from __future__ import annotations

import re
from typing import Protocol

from shapetrace.diagnosis.leaves import changers
from shapetrace.diagnosis.similar_modules import is_apart, is_unlike, varies
from shapetrace.diagnosis.sites import beginning, culprit_of_call
from shapetrace.lineage import Graph, Hop, Trail
from shapetrace.records import Culprit, FunctionCall
from shapetrace.signatures import DimOrigin


class Place(Protocol):
    """A dimension of a tensor, as one side of a problem has it."""

    @property
    def tensor(self) -> int | None: ...

    @property
    def dim(self) -> int | None: ...


def source_size(graph: Graph, hop: Hop) -> int | None:
    """The size before a hop, where it has one source; factors of 1 do not count."""
    sources = graph.source_ids(hop.call, hop.origin)
    if hop.origin.how == "product":
        sources = tuple(s for s in sources if graph.size(*s) != 1) or sources[:1]
    return graph.size(*sources[0]) if len(sources) == 1 else None


def explained_by_sum(graph: Graph, trail: Trail, other: int) -> Culprit | None:
    """A `cat` behind a size, one part of which is the other side's whole size: what
    was joined to it is the difference."""
    end = trail.end
    if end.kind != "branch" or end.origin is None or end.origin.how != "sum":
        return None
    sizes = [graph.size(*source) for source in end.sources]
    if other not in sizes or end.call is None:
        return None
    total = graph.size(end.tensor, end.dim)
    return culprit_of_call(
        graph,
        end.call,
        dim=end.dim,
        size=total,
        expected=other,
        reason=(
            f"joins {' + '.join(map(str, sizes))} = {total}; the other side has {other}"
        ),
    )


def remark(origin: DimOrigin) -> str:
    """What a hop did to a size, in brackets."""
    note = origin.note
    if not note or note.startswith("probed"):
        return ""
    return f" ({note})"


def is_uneven(graph: Graph, hop: Hop) -> bool:
    """Whether a window (convolution, pooling) scaled by no whole number: the usual
    mark of a missing padding, or of an image of another size."""
    before = source_size(graph, hop)
    after = graph.size(hop.tensor, hop.dim)
    if not before or not after:
        return False
    if after > before and re.fullmatch(r"conv\dd", hop.call.name):
        return True  # grown by padding alone
    return before % after != 0 and after % before != 0


def parted(graph: Graph, left: Place, right: Place) -> list[Culprit]:
    """Two branches of one tensor (a skip connection): who changed the size after they
    parted, uneven windows first; and, where one branch alone changed it, the first
    convolution of the other, which may have been meant to."""
    assert left.tensor is not None and left.dim is not None
    assert right.tensor is not None and right.dim is not None
    a = graph.trail(left.tensor, left.dim)
    b = graph.trail(right.tensor, right.dim)
    if a.end.kind == "parameter" or b.end.kind == "parameter":
        return []
    shared = {hop.tensor for hop in a.hops} & {hop.tensor for hop in b.hops}
    if not shared and a.end.tensor != b.end.tensor:
        return []
    unlike = {
        hop.tensor
        for hop in (*a.hops, *b.hops)
        if is_unlike(graph, _recorded(graph, hop))
    }
    sides = []
    for trail, other in ((a, right), (b, left)):
        since = _since_right(graph, trail.hops, other)
        sides.append(
            [
                hop
                for hop in trail.hops
                if (hop in since or hop.tensor in unlike)
                and hop.tensor not in shared
                and hop.call.inputs
            ]
        )
    apart = {
        hop.tensor: is_apart(graph, _recorded(graph, hop))
        for own in sides
        for hop in own
    }
    changed = [
        [
            hop
            for hop in own
            if source_size(graph, hop) != graph.size(hop.tensor, hop.dim)
            or apart[hop.tensor]
        ]
        for own in sides
    ]
    found = sum(changed, []) or sum(sides, [])
    found.sort(
        key=lambda hop: (
            hop.tensor not in unlike,
            not is_uneven(graph, hop),
            not apart[hop.tensor],
            hop.tensor,
        )
    )
    for own, theirs in (sides, sides[::-1]):
        kept = [hop for hop in own if hop.origin.how == "window"]
        if found and kept and not any(hop in found for hop in own) and theirs:
            found.insert(1, _meant_to(graph, kept))
    return [
        culprit_of_call(
            graph,
            hop.call,
            dim=hop.dim,
            size=graph.size(hop.tensor, hop.dim),
            reason=(
                f"gives {graph.size(hop.tensor, hop.dim)}{remark(hop.origin)} on one "
                "branch only"
            ),
        )
        for hop in found[:2]
    ]


def _meant_to(graph: Graph, kept: list[Hop]) -> Hop:
    """Of the windows that left a size as it was, the oldest whose like in other blocks
    have other settings; else the oldest."""
    told = [hop for hop in kept if varies(graph, _recorded(graph, hop))]
    return (told or kept)[-1]


def _since_right(graph: Graph, hops: tuple[Hop, ...], other: Place) -> list[Hop]:
    """The hops that changed a size, newest first, back to where it was what the other
    branch has: what was done before that was undone on the way."""
    assert other.tensor is not None and other.dim is not None
    wanted = graph.size(other.tensor, other.dim)
    found = []
    for hop in changers(hops):
        found.append(hop)
        if source_size(graph, hop) == wanted != graph.size(hop.tensor, hop.dim):
            break
    return found


def _recorded(graph: Graph, hop: Hop) -> str:
    """The name of the layer that a hop is of, as the recording has it."""
    layer = graph.layer_of(hop.call)
    return layer.name if layer is not None else ""


def made_in_model(graph: Graph, tensor: int) -> FunctionCall | None:
    """A factory call inside a forward (`torch.zeros` for a hidden state), or None where
    the tensor is the user's data."""
    call = beginning(graph, tensor)
    return call if call is not None and call.parent is not None else None


def removed(graph: Graph, tensor: int, size: int) -> tuple[FunctionCall, str] | None:
    """The newest function behind a tensor that took a dimension of `size` away, and
    how: an index, a squeeze, a reduction, a view; or the one that picked, of a layer's
    several outputs, one without the dimension (`h_n` of an LSTM)."""
    newer: FunctionCall | None = None
    for made, call in graph.chain(tensor):
        before = [ref for ref in call.inputs if not graph.is_parameter(ref.id)]
        if not before or not isinstance(call, FunctionCall):
            newer = None
            continue
        after = graph.tensors[made].shape
        others = [ref for ref in call.outputs or () if ref.id != made]
        if (
            size > 1
            and size not in after
            and any(_of_data(graph, ref.id, size) for ref in others)
        ):
            layer = graph.layer_of(call)
            name = graph.spoken(layer) if layer is not None else call.name
            picked = newer if newer is not None and newer.direct else call
            return (
                picked,
                (
                    f"goes on with an output of `{name}` that has no dimension of"
                    f" {size}; its first output has"
                ),
            )
        old = before[0].shape
        lost = len(after) < len(old) and old.count(size) > after.count(size)
        if lost and (size == 1 or _of_data(graph, before[0].id, size)):
            return call, f"takes the dimension of {size} away from the prediction"
        newer = call
    return None


def _of_data(graph: Graph, tensor: int, size: int) -> bool:
    """Whether a tensor has a dimension of that size which came with the data."""
    return any(
        other == size and graph.trail(tensor, dim).end.kind == "data"
        for dim, other in enumerate(graph.tensors[tensor].shape)
    )
