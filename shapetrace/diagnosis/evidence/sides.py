"""On which of the two sides a suspect stands, and what others say of that side."""

from __future__ import annotations

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.sites import site_of_call, site_of_maker
from shapetrace.diagnosis.sizes.leaves import changers, every_part
from shapetrace.signatures import kind

_CALLED = ("function", "module")
_ODD, _NOT_ODD = "the odd one of several", "not the odd one of several"


def sides(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """What made both sides made neither unlike the other; nor did what made a factor
    that both have."""
    left, right = ({one.site.key for one in makers} for makers in case.makers)
    key = hypothesis.site.key
    if key in left and key in right:
        return Fact("behind both sides")
    if key in left or key in right:
        return None
    for found in case.factors:
        if key in {one.site.key for one in found.sharers(case.graph)}:
            return Fact("made what both sides have")
    return None


def began_alike(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Both sizes began in one dimension: who changed it on one side alone."""
    trails = [
        case.graph.trail(spot.tensor, spot.dim)
        for spot in case.mismatch.spots
        if spot.tensor is not None and spot.dim is not None
    ]
    if len({(one.end.tensor, one.end.dim) for one in trails}) != 1 or len(trails) < 2:
        return None
    if trails[0].end.kind != "data":
        return None
    left, right = (
        {site_of_maker(case.graph, hop.call).key for hop in changers(one.hops)}
        for one in trails
    )
    if hypothesis.site.key in left ^ right:
        return Fact("changed one of two that began alike")
    return Fact("did not change what began alike")


def joined(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Who joined tensors of which the other side has one alone, and who made that."""
    left, right = case.mismatch.left, case.mismatch.right
    for spot, other, makers in zip((left, right), (right, left), case.makers[::-1]):
        if spot is None or other is None or spot.tensor is None or spot.dim is None:
            continue
        end = case.graph.trail(spot.tensor, spot.dim).end
        if end.call is None or end.origin is None or end.origin.how != "sum":
            continue
        sizes = [case.graph.size(*source) for source in end.sources]
        if other.tensor is not None and end.tensor in case.graph.ancestors(
            other.tensor
        ):
            continue  # both come of it
        if other.size not in sizes:
            continue
        if site_of_call(case.graph, end.call).key == hypothesis.site.key:
            text = f"joins {' + '.join(map(str, sizes))}; there are {other.size} there"
            return Fact("joins what the other side has a part of", text=text)
        if hypothesis.site.key in {one.site.key for one in makers}:
            return Fact("made a part of what the other side joined")
    return None


def merged(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Who made one dimension of several that stand side by side in the other side."""
    left, right = case.mismatch.left, case.mismatch.right
    for spot, other in ((left, right), (right, left)):
        if spot is None or spot.tensor is None or spot.dim is None:
            continue
        if other is None or other.tensor is None:
            continue
        end = case.graph.trail(spot.tensor, spot.dim).end
        if end.kind != "branch" or end.origin is None or end.origin.how == "sum":
            continue
        sizes = tuple(case.graph.size(*source) for source in end.sources)
        shape = case.graph.tensors[other.tensor].shape
        beside = (shape[at : at + len(sizes)] for at in range(len(shape)))
        if end.call is None or len(sizes) < 2 or 1 in sizes or sizes not in beside:
            continue
        if site_of_call(case.graph, end.call).key == hypothesis.site.key:
            apart = " and ".join(map(str, sizes))
            text = f"joins {apart}, which stand side by side on the other side"
            return Fact("joins what the other side keeps apart", text=text)
    return None


def only_passed(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether whoever is named, with no repair, did nothing to the odd size."""
    key, graph = hypothesis.site.key, case.graph
    if hypothesis.form != "unknown" or hypothesis.site.kind not in _CALLED:
        return None
    passed = False
    for spot in case.mismatch.spots:
        if spot.tensor is None or spot.dim is None:
            return None
        for leaf in every_part(graph, spot.tensor, spot.dim):
            end = leaf.end.call
            if end is not None and site_of_maker(graph, end).key == key:
                return None
            made = [
                hop for hop in leaf.hops if site_of_maker(graph, hop.call).key == key
            ]
            if changers(tuple(made)):
                return None
            passed = passed or bool(made)
    return Fact("only passed the size on") if passed else None


def several(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Of more than two tensors that are joined, or that a loss wants with as many
    dimensions, the one that is unlike all others."""
    if case.mismatch.kind == "rank":
        return _odd_rank(hypothesis, case)
    left, right = case.mismatch.left, case.mismatch.right
    if left is None or right is None or left.dim is None or right.tensor is None:
        return None
    if kind(case.call.name) != "join" or len(case.call.inputs) < 3:
        return None
    made = [case.graph.producer(ref.id) for ref in case.call.inputs]
    lines = {one.source if one is not None else None for one in made}
    if len(lines) == 1 and None not in lines:
        return None  # of other data each time, as in a loop: none is the odd one
    sizes = [r.shape[left.dim] for r in case.call.inputs if left.dim < len(r.shape)]
    for spot, makers in zip((left, right), case.makers):
        if sizes.count(spot.size) == 1 and len(set(sizes)) == 2:
            if hypothesis.site.key in {one.site.key for one in makers}:
                return Fact(_ODD, text="all others are alike")
            return Fact(_NOT_ODD)
    return None


def _odd_rank(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """The same by the number of dimensions: one disagrees with two that agree."""
    sides = [(clash.left, clash.right) for clash in case.mismatch.conflicts]
    ranks = {
        side.input: side.size
        for pair in sides
        for side in pair
        if side.input is not None and side.dim is None
    }
    sizes = list(ranks.values())
    odd = [at for at, size in ranks.items() if sizes.count(size) == 1]
    if len(ranks) < 3 or len(odd) != 1 or len(set(sizes)) != 2:
        return None
    keys = {
        at: {
            site_of_call(case.graph, call).key
            for _, call in case.graph.chain(case.call.inputs[at].id)
        }
        | {case.site_of(case.call.inputs[at].id).key}
        for at in ranks
    }
    own = hypothesis.site.key
    if own in keys[odd[0]]:
        return Fact(_ODD, text="all others are alike")
    if any(own in found for at, found in keys.items() if at != odd[0]):
        return Fact(_NOT_ODD)
    return None
