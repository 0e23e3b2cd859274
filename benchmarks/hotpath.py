"""What one recorded call is made of: nanoseconds of each part, and of the whole.

    python benchmarks/hotpath.py

The parts are timed one by one in a loop, the fastest of several; so they are warm. The
whole is what the recorder's own calibration says, warm and after a kernel that has
emptied the processor's cache.
"""

from __future__ import annotations

import sys
import timeit
import weakref
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

import torch
from tabulate import tabulate
from torch.overrides import TorchFunctionMode

from shapetrace.recording.overhead import calibrate

_NUMBER, _REPEAT = 20_000, 7


class Empty(TorchFunctionMode):
    """Does nothing but call on."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return func(*args, **kwargs) if kwargs else func(*args)


def cost(part: Callable[[], object]) -> float:
    """Nanoseconds of a call of `part`."""
    return min(timeit.repeat(part, number=_NUMBER, repeat=_REPEAT)) / _NUMBER * 1e9


def parts() -> list[tuple[str, float]]:
    x = torch.zeros(4, 8)
    seen = {id(x): weakref.ref(x)}
    events: list[Any] = []
    empty = cost(lambda: None)

    def note() -> None:
        events.extend([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14])
        if len(events) > 100_000:
            events.clear()

    timed: list[tuple[str, Callable[[], object]]] = [
        ("two stamps of the clock", lambda: (perf_counter_ns(), perf_counter_ns())),
        ("an input looked up: dict and weak reference", lambda: seen[id(x)]() is x),
        ("a weak reference to the output", lambda: weakref.ref(x)),
        ("its shape", lambda: x.shape),
        ("its dtype and device", lambda: (x.dtype, x.is_cpu)),
        ("the caller's frame and code", lambda: sys._getframe(1).f_code),
        ("an event of 14 values", note),
    ]
    found = [(name, cost(part) - empty) for name, part in timed]
    with torch.no_grad():
        plain = cost(lambda: torch.add(x, x))
        with Empty():
            found.append(("an empty function mode", cost(lambda: torch.add(x, x))))
    name, watched = found.pop()
    return [(name, watched - plain), *found]


def main() -> None:
    torch.set_num_threads(1)
    rows: list[tuple[str, float]] = parts()
    whole = calibrate()
    assert whole is not None
    rows += [
        ("**a recorded function call, the mode included**", whole.function),
        ("**a recorded module call**", whole.module),
        ("more after a large kernel: function call", whole.function_cold),
        ("more after a large kernel: module call", whole.module_cold),
    ]
    print(tabulate(rows, headers=["part", "ns"], floatfmt=".0f", tablefmt="github"))


if __name__ == "__main__":
    main()
