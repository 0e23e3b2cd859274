"""What others would say if whoever made the odd size had made the one that fits: where
one call needs what was made for two, the other is to be changed."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.detection.mismatch import Spot
from shapetrace.diagnosis.hypothesis import Repair, Site, Taken
from shapetrace.diagnosis.once import once
from shapetrace.diagnosis.repair.edits import resized
from shapetrace.diagnosis.sites import site_of_data, site_of_maker
from shapetrace.diagnosis.sizes.leaves import changers


@once
def needed_elsewhere(case: Case) -> set[object]:
    """The sites whose size a call needs that went well with it."""
    found: set[object] = set()
    for spot, wanted in case.mismatch.wanted:
        for site, tensor, dim in _makers(case, spot):
            size = case.graph.size(tensor, dim)
            new, rest = divmod(size * wanted, spot.size or 1)
            if rest or new < 1 or new == size:
                continue
            edit = resized({dim: new})
            outcome = case.replay.start(Repair(taken=(Taken(tensor, edit),)))
            if outcome is not None and outcome.broke:
                found.add(site.key)
    return found


def _makers(case: Case, spot: Spot) -> Iterator[tuple[Site, int, int]]:
    """Who made a size, and what of it: the calls that changed it, and the data."""
    if spot.tensor is None or spot.dim is None or case.graph.is_parameter(spot.tensor):
        return
    trail = case.graph.trail(spot.tensor, spot.dim)
    for hop in changers(trail.hops):
        if hop.call.inputs:
            yield site_of_maker(case.graph, hop.call), hop.tensor, hop.dim
    end = trail.end
    if end.kind in ("data", "new", "values") and end.tensor in case.graph.tensors:
        target = case.is_target(end.tensor)
        site = site_of_data(case.graph, end.tensor, target=target)
        yield site, end.tensor, end.dim
