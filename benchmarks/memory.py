"""What `memory=True` and `backward=True` cost, and whether the bytes are right.

    python benchmarks/memory.py            all nets
    python benchmarks/memory.py dispatch   that one

Ratios to the untraced forward and backward, taken in turns in one process. The peak
of live activations is set beside what torch.profiler saw of the allocator: that holds
gradients and temporaries too, and can only be more.
"""

from __future__ import annotations

import statistics
import sys
from time import perf_counter

import torch
from nets import NETS, TITLES
from tabulate import tabulate
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from shapetrace import trace

OPTIONS: dict[str, dict[str, bool]] = {
    "default": {},
    "memory": {"memory": True},
    "backward": {"backward": True},
    "both": {"memory": True, "backward": True},
}
_SECONDS = 15.0


def step(model: nn.Module, x: Tensor) -> None:
    output = model(x)
    tensor = output if isinstance(output, Tensor) else output[0]
    tensor.sum().backward()
    model.zero_grad()


def allocated(model: nn.Module, x: Tensor) -> int:
    """The most that the forward held at once, as torch.profiler tells it."""
    activities = [ProfilerActivity.CPU]
    with profile(activities=activities, profile_memory=True) as found:
        output = model(x)
    held = most = 0
    for event in found.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    del output
    return most


def measure(net: str) -> list[dict[str, object]]:
    torch.manual_seed(0)
    model, x = NETS[net]()
    times: dict[str, list[float]] = {name: [] for name in ("untraced", *OPTIONS)}
    step(model, x)
    stop = perf_counter() + _SECONDS
    while perf_counter() < stop or len(times["untraced"]) < 5:
        start = perf_counter()
        step(model, x)
        times["untraced"].append(perf_counter() - start)
        for name, options in OPTIONS.items():
            with trace(model, checks=False, **options):
                start = perf_counter()
                step(model, x)
                times[name].append(perf_counter() - start)
    base = statistics.median(times["untraced"])
    with trace(model, checks=False, memory=True) as t:
        output = model(x)
    peak = max(sample.activations for sample in t.recording.live)
    del output
    row: dict[str, object] = {"net": TITLES[net], "untraced ms": base * 1e3}
    row |= {name: statistics.median(times[name]) / base for name in OPTIONS}
    row["live peak MB"] = peak / 1e6
    row["profiler MB"] = allocated(model, x) / 1e6
    return [row]


def main() -> None:
    torch.set_num_threads(1)
    rows = [row for net in sys.argv[1:] or NETS for row in measure(net)]
    print(f"torch {torch.__version__}, one thread; forward and backward\n")
    print(tabulate(rows, headers="keys", floatfmt=".2f"))


if __name__ == "__main__":
    main()
