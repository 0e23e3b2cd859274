"""Are the times right? Against torch.profiler, and against the untraced forward.

    python benchmarks/timing.py            ResNet-50 and GPT-2 small
    python benchmarks/timing.py --quick    few repetitions: a smoke test

Untraced, traced and profiled forwards take turns in one process. torch.profiler is
given one range a module, by hooks. Figures are medians over the repetitions.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter_ns

import torch
from nets import NETS, TITLES
from tabulate import tabulate
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile, record_function

from shapetrace import trace

Times = dict[str, float]


@contextmanager
def ranges(model: nn.Module) -> Iterator[None]:
    """One profiler range for each call of an innermost module."""
    handles, open_ = [], []

    def enter(name: str) -> Callable[..., None]:
        def before(module: nn.Module, args: object) -> None:
            open_.append(record_function(name))
            open_[-1].__enter__()

        return before

    def leave(module: nn.Module, args: object, output: object) -> None:
        open_.pop().__exit__(None, None, None)

    for name, module in model.named_modules():
        if not list(module.children()):
            handles.append(module.register_forward_pre_hook(enter(f"module:{name}")))
            handles.append(module.register_forward_hook(leave))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def profiled(model: nn.Module, x: Tensor) -> Times:
    """Milliseconds by module, as torch.profiler has them."""
    with ranges(model), profile(activities=[ProfilerActivity.CPU]) as found:
        model(x)
    times: Times = defaultdict(float)
    for event in found.events():
        if event.name.startswith("module:"):
            times[event.name.removeprefix("module:")] += event.cpu_time_total / 1e3
    return times


def compare(net: str, repetitions: int) -> dict[str, object]:
    torch.manual_seed(0)
    model, x = NETS[net]()
    model.eval()
    inner = {name for name, one in model.named_modules() if not list(one.children())}
    untraced, measured, corrected = [], [], []
    ours: dict[str, list[float]] = defaultdict(list)
    theirs: dict[str, list[float]] = defaultdict(list)
    with torch.no_grad():
        model(x)
        for _ in range(repetitions):
            start = perf_counter_ns()
            model(x)
            untraced.append((perf_counter_ns() - start) / 1e6)
            with trace(model, checks=False) as t:
                model(x)
            costs = t.costs
            measured.append(costs.measured_ns / 1e6)
            corrected.append((costs.corrected_ns or 0) / 1e6)
            times: Times = defaultdict(float)
            for call, cost in zip(t.calls, costs.calls, strict=True):
                if call.name in inner:
                    times[call.name] += (cost.corrected_ns or 0) / 1e6
            for name, time in times.items():
                ours[name].append(time)
            for name, time in profiled(model, x).items():
                theirs[name].append(time)
    mine, other = _medians(ours), _medians(theirs)
    tops = _slowest(mine), _slowest(other)
    base = statistics.median(untraced)
    return {
        "net": TITLES[net],
        "untraced ms": base,
        "measured": statistics.median(measured) / base,
        "corrected": statistics.median(corrected) / base,
        "top ten in common": len(set(tops[0]) & set(tops[1])),
        "rank correlation": statistics.correlation(*_ranks(mine, other)),
        "their ten, our time": sum(mine[name] for name in tops[1])
        / sum(other[name] for name in tops[1]),
        "slowest": f"{tops[0][0]} / {tops[1][0]}",
    }


def _ranks(one: Times, other: Times) -> tuple[list[float], list[float]]:
    """The places of the same modules in two orders."""
    names = [name for name in one if name in other]
    orders = [sorted(names, key=lambda name: times[name]) for times in (one, other)]
    places = [{name: float(at) for at, name in enumerate(order)} for order in orders]
    return [places[0][name] for name in names], [places[1][name] for name in names]


def _medians(times: dict[str, list[float]]) -> Times:
    return {name: statistics.median(found) for name, found in times.items()}


def _slowest(times: Times) -> list[str]:
    return sorted(times, key=lambda name: -times[name])[:10]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few repetitions")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [compare(net, 3 if options.quick else 15) for net in ("resnet50", "gpt2")]
    print(f"torch {torch.__version__}, one thread; ratios to the untraced forward\n")
    print(tabulate(rows, headers="keys", floatfmt=".3f"))


if __name__ == "__main__":
    main()
