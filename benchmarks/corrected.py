"""Are times right without the tracer's own cost? Thirty small layers of each kind.

    python benchmarks/corrected.py

Untraced and traced forwards take turns. Each figure is the least of all turns, as a
ratio to the least untraced one, whose caches are warm; *cold* is untraced too, after
other work in Python.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter_ns

import torch
from tabulate import tabulate
from torch import Tensor, nn

from shapetrace import trace

_TURNS, _LAYERS, _BATCHES = 40, 30, 4

KINDS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "Linear 8x8": (lambda: nn.Linear(8, 8), (8, 8)),
    "Linear 64x64": (lambda: nn.Linear(64, 64), (32, 64)),
    "ReLU": (nn.ReLU, (32, 64)),
    "GELU": (nn.GELU, (32, 64)),
    "Softmax": (lambda: nn.Softmax(-1), (32, 64)),
    "Dropout": (nn.Dropout, (32, 64)),
    "LayerNorm": (lambda: nn.LayerNorm(64), (32, 64)),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(64), (32, 64)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 8), (2, 8, 8, 8)),
    "MaxPool2d": (lambda: nn.MaxPool2d(3, 1, 1), (2, 8, 8, 8)),
    "Conv2d": (lambda: nn.Conv2d(8, 8, 3, padding=1), (2, 8, 8, 8)),
}


def measure(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> list[str]:
    model, x = nn.Sequential(*(make() for _ in range(_LAYERS))), torch.randn(shape)
    warm: list[int] = []
    cold: list[int] = []
    measured: list[int] = []
    first: list[int] = []
    later: list[int] = []
    uncertain: list[float] = []
    for _ in range(_TURNS):
        cold.append(_took(model, x))
        warm += [_took(model, x) for _ in range(3)]
        with trace(model) as t:
            for _ in range(_BATCHES):
                model(x)
        tops = [call for call in t.calls if call.parent is None]
        times = [t.costs.calls[call.index].corrected_ns or 0 for call in tops]
        measured.append(tops[0].duration_ns)
        first.append(times[0])
        later += times[1:]
        uncertain.append((t.costs.uncertain_ns or 0) / (t.costs.corrected_ns or 1))
    least = min(warm)
    ratios = [min(times) / least for times in (cold, measured, first, later)]
    said = [f"{ratio:.2f}" for ratio in ratios]
    return [f"{least / 1e3 / _LAYERS:.1f}", *said, f"{median(uncertain):.2f}"]


def _took(model: nn.Module, x: Tensor) -> int:
    start = perf_counter_ns()
    model(x)
    return perf_counter_ns() - start


def main() -> None:
    torch.set_num_threads(1)
    with torch.no_grad():
        rows = [[name, *measure(*kind)] for name, kind in KINDS.items()]
    head = ["layer", "untraced us", "cold", "measured, first batch"]
    head += ["corrected, first", "corrected, later", "said to be uncertain by"]
    print(tabulate(rows, head, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
