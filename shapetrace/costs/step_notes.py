"""What a reader of the steps must know besides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shapetrace.costs.statistics import quantile
from shapetrace.records import FunctionCall, Recording


def milliseconds(nanoseconds: float) -> str:
    return f"{nanoseconds / 1e6:,.2f}"


def notes_on(
    rec: Recording, seen: set[str], backwards: Sequence[FunctionCall], cut: bool
) -> Iterator[str]:
    """`seen` are the phases that the block has; `cut` says that a bound dropped the
    beginning of the only step."""
    if cut:
        yield "max_calls dropped the beginning of this one step, which is not in it"
    between = rec.left_out.steps if rec.left_out is not None else None
    if between is not None:
        usual = quantile([*between.spread.items()], 0.5)
        yield (
            f"{between.count:,} more steps between the first and the newest of these:"
            f" {milliseconds(usual)} ms, the longest {milliseconds(between.max_ns)} ms"
        )
    if not rec.has_functions:
        yield "functions=False: loss, backward, optimizer and loader were not recorded"
        return
    if "data" not in seen:
        yield "no DataLoader was read in the block: the time for data is not known"
    if "optimizer" not in seen:
        ends = "backward" if backwards else "forward"
        yield f"no optimizer's step was in the block: a step ends with its {ends}"
    tensors = [ref for call in rec.calls[:50] for ref in call.outputs or ()]
    if any(ref.device.type not in ("cpu", "meta") for ref in tensors):
        yield (
            "an accelerator works on by itself: its time shows where the processor "
            "waits for it"
        )
