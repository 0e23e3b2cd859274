"""What becomes of the classes of a prediction, and of layers that one line builds."""

from __future__ import annotations

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.evidence.layout import repaired
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.signatures import loss

#: a loss would fit, with every place of every sample a class of its own
JOINED = "makes classes of several dimensions"
#: one number where each of the layers had its own
LEVELLED = "builds unlike layers alike"


def classes(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether the classes of a loss would be put together of two dimensions, where
    they are one: logits of (1, 64, 9) as one sample of 576 classes."""
    if not case.mismatch.loss or case.target is None:
        return None
    found = repaired(hypothesis, case)
    if found is None:
        return None
    axes, final = found
    known = loss(final.name)
    if known is None or known.class_dim is None:
        return None
    if case.target.dtype.is_floating_point or len(final.inputs[0].shape) < 2:
        return None
    parts = [a for a in axes.of(final.inputs[0].id, known.class_dim) if a.size > 1]
    return Fact(JOINED) if len({axis.roots for axis in parts}) > 1 else None


def levelled(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether several of the layers that one line builds would get the width that
    another of them has: the line then has a number where it followed what each of them
    is given. One alone that is unlike all others may be the mistake itself."""
    repair = hypothesis.repair
    if repair is None or len(repair.modules) < 3:
        return None
    known = case.graph.rec.modules
    news = [info.attributes for info in repair.modules.values()]
    for key in news[0]:
        then = [str(known[name].attributes.get(key)) for name in repair.modules]
        now = [str(one.get(key)) for one in news]
        changed = sum(old != new for old, new in zip(then, now, strict=True))
        if changed > 1 and len(set(then)) > 1 and len(set(now)) == 1:
            return Fact(LEVELLED)
    return None
