"""What becomes of the classes of a prediction, and of layers that one line builds."""

from __future__ import annotations

from dataclasses import replace

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.edited_dims import made_of
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.signatures import loss, relate

#: a loss would fit, with every place of every sample a class of its own
JOINED = "makes classes of several dimensions"
#: one number where each of the layers had its own
LEVELLED = "builds unlike layers alike"


def classes(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether the classes of a loss would be put together of two dimensions, where
    they are one: logits of (1, 64, 9) as one sample of 576 classes."""
    repair = hypothesis.repair
    if repair is None or not case.mismatch.loss or case.target is None:
        return None
    final = case.replay.final(repair)
    known = loss(final.name) if final is not None else None
    if final is None or known is None or known.class_dim is None:
        return None
    if case.target.dtype.is_floating_point or len(final.inputs[0].shape) < 2:
        return None
    made = _sizes_behind(hypothesis, case, final.inputs[0], known.class_dim)
    return Fact(JOINED) if sum(size > 1 for size in made) > 1 else None


def _sizes_behind(
    hypothesis: Hypothesis, case: Case, ref: TensorRef, dim: int
) -> list[int]:
    """The sizes that a repair puts together in one dimension of a tensor."""
    repair, edit = hypothesis.repair, hypothesis.edit
    assert repair is not None
    if edit is not None and any(taken.tensor == ref.id for taken in repair.taken):
        before = case.graph.tensors[ref.id].shape
        dims = made_of(edit, before) or []
        return [before[at] for at in dims[dim]] if dim < len(dims) else []
    made = case.graph.producer(ref.id)
    if not isinstance(made, FunctionCall) or made.index not in repair.calls:
        return []
    new = repair.calls[made.index]
    outputs = relate(replace(new, outputs=None)).outputs
    if not outputs or dim >= len(outputs[0]):
        return []
    return [new.inputs[at].shape[of] for at, of in outputs[0][dim].sources]


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
