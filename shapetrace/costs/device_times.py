"""The times of module calls on their accelerator, without its waits for the tracer.

An accelerator that had done all that was queued when a call ended waited for the
processor in it: the call's own time there is then no more than what the processor takes
for it without the tracer, and the time of a call is its own with those of the calls
inside it. Not with `memory=True` or `backward=True`: what they do at each function
hides kernels that are longer than that.
"""

from __future__ import annotations

from typing import NamedTuple

from shapetrace.costs.times import Times
from shapetrace.records import Recording


class DeviceTime(NamedTuple):
    """Nanoseconds; None where a call had none there."""

    total_ns: int | None
    self_ns: int | None


def on_device(rec: Recording, times: Times | None) -> list[DeviceTime]:
    """Of every call; as measured where the processor's corrected times are unknown."""
    own = [call.device_ns for call in rec.calls]
    looked = rec.live or any(call.backward_ns is not None for call in rec.calls)
    inside = [0] * len(own)
    for call in rec.calls:
        if call.parent is not None:
            inside[call.parent] += call.device_ns or 0
    totals = [0] * len(own)
    for call in reversed(rec.calls):  # what is inside a call comes after it
        at, took = call.index, call.device_ns
        if took is not None:
            left = max(0, took - inside[at])
            if call.device_idle and times is not None and not looked:
                left = min(left, times.calls[at].self_ns)
            own[at] = left
            totals[at] += left
        if call.parent is not None:
            totals[call.parent] += totals[at]
    return [
        DeviceTime(None if left is None else total, left)
        for left, total in zip(own, totals, strict=True)
    ]
