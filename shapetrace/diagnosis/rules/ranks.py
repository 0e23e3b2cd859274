"""Blame where a tensor has another number of dimensions than is wanted."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from shapetrace.diagnosis.mismatch import Mismatch
from shapetrace.diagnosis.plain import rank_changer
from shapetrace.diagnosis.rules.blame_loss import blame_loss
from shapetrace.diagnosis.rules.blame_other import blame_unknown
from shapetrace.diagnosis.rules.makers import spelled
from shapetrace.diagnosis.sites import (
    culprit_of_call,
    culprit_of_data,
    culprit_of_module,
    takes_shape,
)
from shapetrace.lineage import Call, Graph
from shapetrace.records import Culprit, FunctionCall

_CONVOLUTION = re.compile(r"conv(_transpose)?[123]d")
#: picks and puts by an index that must have as many dimensions as the tensor
BY_INDEX = ("gather", "scatter", "scatter_add", "scatter_reduce", "take_along_dim")
#: products that take one number of dimensions only, where matmul takes any
_STRICT = {"mm": 2, "addmm": 2, "bmm": 3, "baddbmm": 3, "mv": 2, "dot": 1}


def blame_rank(graph: Graph, problem: Mismatch) -> Iterable[Culprit]:
    """Who changed a number of dimensions, the tensor with fewer of them first: one was
    left out, or taken away. What a module holds comes next, and then the data."""
    if problem.loss:
        return blame_loss(graph, problem)
    call = problem.call
    sides = [spot.tensor for spot in problem.spots if spot.tensor is not None]
    sides.sort(key=lambda side: len(graph.tensors[side].shape))
    if not sides:
        return blame_unknown(graph, problem)
    weighed = [
        entry
        for side in dict.fromkeys(sides)
        if (entry := _of_rank(graph, problem, side)) is not None
    ]
    weighed.sort(key=lambda entry: entry[0])
    found = [culprit for _, culprit in weighed]
    if problem.layer is not None:
        shape = graph.tensors[sides[0]].shape
        reason = f"cannot take {spelled(shape)}"
        like = sibling(problem.layer.type, len(shape))
        if like:
            reason += f"; nn.{like} does"
            return [culprit_of_module(problem.layer, reason=reason), *found]
        return [*found, culprit_of_module(problem.layer, reason=reason)]
    base = call.name.rstrip("_")
    if base in BY_INDEX:
        tensor = call.inputs[0].shape if call.inputs else ()
        reason = f"wants an index of {len(tensor)} dimensions, as the tensor has"
        return [culprit_of_call(graph, call, reason=reason), *found]
    if base in _STRICT:
        reason = f"takes {_STRICT[base]}-D only; matmul takes more"
        return [culprit_of_call(graph, call, reason=reason), *found]
    if len(sides) > 1:
        return [*found, culprit_of_call(graph, call, reason="takes both")]
    if problem.right is not None and problem.right.role.startswith("a dim"):
        asks = f"asks for {problem.right.role.removeprefix('a ')}"
        return [*found, culprit_of_call(graph, call, reason=asks)]
    return found


def sibling(kind: str, rank: int) -> str:
    """The normalisation like `kind` that takes this number of dimensions, if another
    one does.

    >>> sibling("BatchNorm2d", 2), sibling("BatchNorm1d", 3)
    ('BatchNorm1d', '')
    """
    space = {2: 1, 3: 1, 4: 2, 5: 3}.get(rank)
    base = kind[:-2]
    if base not in ("BatchNorm", "InstanceNorm") or space is None:
        return ""
    return f"{base}{space}d" if kind != f"{base}{space}d" else ""


def _of_rank(graph: Graph, problem: Mismatch, side: int) -> tuple[int, Culprit] | None:
    """Who gave a tensor its number of dimensions, and how late to name it: first the
    newest call of the user's that changed the number, then the module that holds the
    tensor, a layer that keeps the number, the data."""
    shape = graph.tensors[side].shape
    number = f"{len(shape)} dimension{'s' * (len(shape) != 1)}, {spelled(shape)}"
    origin = graph.origin(side)
    if graph.is_parameter(side) and origin is not None:
        if problem.layer is not None and origin.name.startswith(problem.layer.name):
            return None
        holder, _, name = origin.name.rpartition(".")
        around = graph.module_of(problem.layer or problem.call)
        source = around.source if around is not None else problem.call.source
        reason = f"holds `{name}` with {number}"
        return 1, Culprit("module", holder, source=source, reason=reason)
    more = _has_more(graph, problem, side)
    changer = rank_changer(graph, side, more)
    if changer is not None:
        return 0, changer
    newest: Call | None = None
    late = 0
    for made, call in graph.chain(side):
        old = call.inputs[0].shape if call.inputs else ()
        newest = call
        late = 2 * (not old or len(old) == len(graph.tensors[made].shape))
        break
    if newest is not None and takes_shape(newest):
        reason = f"takes over the shape of its argument, {spelled(shape)}"
        return 1, culprit_of_call(graph, newest, reason=reason)
    if newest is None or not graph.from_model(side):
        # outside of every module, what meets a prediction is its target
        with_model = any(
            spot.tensor is not None and graph.from_model(spot.tensor)
            for spot in problem.spots
        )
        target = with_model and problem.call.parent is None
        first = list(graph.chain(side))[-1:]
        came = graph.tensors[first[0][0]].shape if first else shape
        reason = f"has {number}" + (" when it gets there" if came != shape else "")
        return 3, culprit_of_data(graph, side, target=target, reason=reason)
    return late, culprit_of_call(
        graph, newest, reason=f"gives an output that has {number}"
    )


def _has_more(graph: Graph, problem: Mismatch, side: int) -> bool | None:
    """Whether a tensor has more dimensions than the other side, or than is wanted."""
    rank = len(graph.tensors[side].shape)
    for spot in problem.spots:
        if spot.tensor is None and spot.size:
            return rank > spot.size
        if spot.tensor is not None and spot.tensor != side:
            return rank > len(graph.tensors[spot.tensor].shape)
    return None


def unbatched(graph: Graph, call: FunctionCall) -> Culprit | None:
    """Whoever dropped a dimension of what a convolution takes for one sample without a
    batch: the channels, which do not fit, stand for the batch."""
    if not _CONVOLUTION.fullmatch(call.name) or not call.inputs:
        return None
    rank = int(call.name[-2]) + 1
    shape = call.inputs[0].shape
    dropped = rank_changer(graph, call.inputs[0].id, more=False)
    if len(shape) != rank or dropped is None:
        return None
    alone = f"{call.name} takes {spelled(shape)} for one sample without a batch"
    return replace(dropped, reason=f"{dropped.reason}; {alone}")
