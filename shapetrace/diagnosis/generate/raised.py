"""Who it may be where it is not known what disagrees: whoever raised, what that was
given, and what PyTorch's words speak of."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.detection.mismatch import named_arguments
from shapetrace.diagnosis.generate.batches import without_last
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.python_errors.returned import returned
from shapetrace.diagnosis.sites import site_of_call, site_of_module
from shapetrace.diagnosis.sizes.leaves import changers, leaves
from shapetrace.records import FunctionCall

_SMALL = ("too small", "greater than actual input")
_ONE_VALUE = "more than 1 value per channel"


def raised(case: Case) -> Iterator[Hypothesis | None]:
    """None of these has a repair: they are named, and the rest is the reader's."""
    graph, call, layer = case.graph, case.call, case.layer
    own = site_of_call(graph, call) if layer is None else site_of_module(layer)
    asks = _asks(case)
    if asks:
        yield Hypothesis("unknown", own, reason=asks)
    if case.mismatch.kind != "other":
        return
    if _waited(call):
        yield Hypothesis("unknown", own, reason="waited for another rank")
        return
    message = call.error.message if call.error is not None else ""
    around = graph.module_of(layer or call)
    for giver in returned(graph, around, message):
        site = case.site_named(giver.name)
        yield Hypothesis("unknown", site, hops=1, reason=giver.reason)
    for ref in named_arguments(call):
        reason = "does not fit, as the message says"
        yield Hypothesis("unknown", case.site_of(ref.id), hops=1, reason=reason)
    data = [ref for ref in call.inputs if not graph.is_parameter(ref.id)]
    small = any(words in message for words in _SMALL)
    reason = "raised"
    if small and data:
        reason = f"has only {data[0].shape} to work on"
    elif _ONE_VALUE in message and data:
        reason = (
            f"is given one value per channel, {data[0].shape}: in training it takes a "
            "batch of more than one (in eval() any)"
        )
    one = data[0].shape[0] if data and _ONE_VALUE in message else None
    yield Hypothesis("unknown", own, reason=reason, size=one)
    if call.error is not None and call.error.type.endswith("Warning"):
        return  # made an error: it speaks of the call
    for ref in data[:1]:
        if small:
            yield from _shrunk(case, ref.id)
        elif _ONE_VALUE in message:
            yield _lone(case, ref.id)
        elif not graph.from_model(ref.id):
            reason = f"comes in as {ref.shape}"
            yield Hypothesis("unknown", case.site_of(ref.id), hops=1, reason=reason)
    if case.target is not None:
        reason = f"has shape {case.target.shape}"
        yield Hypothesis("unknown", case.site_of(case.target.id), reason=reason)
    if layer is None and around is not None:
        reason = "encloses the call that raised"
        yield Hypothesis("unknown", site_of_module(around), hops=1, reason=reason)


def _waited(call: FunctionCall) -> bool:
    """Nothing that it was given is to blame where another rank did not come."""
    collective = call.qualname.startswith("torch.distributed.")
    return call.error is not None and call.error.is_of_other_ranks(collective)


def _asks(case: Case) -> str:
    """What the failing call itself asks for, where it may ask for too much."""
    right = case.mismatch.right
    if right is None or right.tensor is not None or case.mismatch.loss:
        return ""
    if case.mismatch.kind == "numel":
        return f"asks for {right.size} elements (or a multiple)"
    if case.mismatch.kind == "rank" and right.role.startswith("a dim"):
        return f"asks for {right.role.removeprefix('a ')}"
    return ""


def _shrunk(case: Case, tensor: int) -> Iterator[Hypothesis]:
    """Nothing is left for a window: who made so little of the image, and the image."""
    graph = case.graph
    dim = len(graph.tensors[tensor].shape) - 1
    for leaf in leaves(graph, tensor, dim) if dim >= 0 else ():
        for hops, hop in enumerate(changers(leaf.hops), 1):
            if hop.origin.how == "window":
                size = graph.size(hop.tensor, hop.dim)
                site = site_of_call(graph, hop.call)
                reason = f"leaves {size}"
                yield Hypothesis("unknown", site, hops=hops, reason=reason, size=size)
        if leaf.end.kind == "data":
            size = graph.size(leaf.end.tensor, leaf.end.dim)
            site = case.site_of(leaf.end.tensor)
            yield Hypothesis("unknown", site, reason=f"has {size} there", size=size)


def _lone(case: Case, tensor: int) -> Hypothesis | None:
    """A batch of one sample, of which a pooling left one number a channel."""
    end = case.graph.trail(tensor, 0).end
    if end.kind != "data":
        return None
    reason = "has a batch of 1 (drop_last=True leaves the last one out)"
    line, where = without_last(case)
    return Hypothesis(
        "data",
        case.site_of(end.tensor),
        hops=1,
        line=line,
        where=where,
        words="leaves out what is left over for the last batch" if line else "",
        loses="the samples of the last batch" if line else "",
        reason=reason,
        dim=0,
        size=1,
    )
