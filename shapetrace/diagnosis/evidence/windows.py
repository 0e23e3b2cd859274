"""Whether a window (convolution, pooling) is as windows usually are."""

from __future__ import annotations

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.leaves import changers, leaves, rate_that_fits
from shapetrace.diagnosis.sites import site_of_maker
from shapetrace.diagnosis.window_layers import SETTINGS, whole
from shapetrace.records import ModuleInfo


def usual(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """A change to what keeps a size, or cuts it by a whole number, or away from it."""
    repair = hypothesis.repair
    if hypothesis.form != "window" or repair is None:
        return None
    new = repair.modules.get(hypothesis.site.name)
    old = case.graph.rec.modules.get(hypothesis.site.name)
    if new is None or old is None:
        return None
    before, after = is_usual(old), is_usual(new)
    if before == after:
        return None
    if after:
        return Fact("a usual window", text="as windows usually are")
    return Fact("an unusual window")


def is_usual(info: ModuleInfo) -> bool:
    """Half the kernel as padding, or windows side by side."""
    settings = (whole(info.attributes.get(key)) for key in SETTINGS)
    kernel, stride, padding = (
        (one,) if isinstance(one, int) else one for one in settings
    )
    if not isinstance(kernel, tuple) or not isinstance(padding, tuple):
        return False
    if padding == tuple(size // 2 for size in kernel) and all(n % 2 for n in kernel):
        return True
    return stride == kernel and not any(padding)


def rate(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether a layer makes its input longer by a whole number, and another whole
    number would make it as long as the other side is."""
    if hypothesis.site.kind != "module":
        return None
    for spot, wanted in case.mismatch.wanted:
        if spot.tensor is None or spot.dim is None:
            continue
        for leaf in leaves(case.graph, spot.tensor, spot.dim):
            for hop in changers(leaf.hops):
                if hop.origin.how != "window" or not hop.call.inputs:
                    continue
                if site_of_maker(case.graph, hop.call).key == hypothesis.site.key:
                    if rate_that_fits(case.graph, hop, leaf.size, wanted):
                        return Fact("another rate would fit")
    return None
