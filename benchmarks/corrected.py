"""Are times right without the tracer's own cost? Thirty small layers of each kind, and
small nets of several kinds.

    python benchmarks/corrected.py

Untraced and traced forwards take turns. Each figure is the lower quartile of all turns,
as a ratio to that of the untraced ones, whose caches are warm; *cold* is untraced too,
after other work in Python.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from time import perf_counter_ns

import torch
from tabulate import tabulate
from torch import Tensor, nn
from torch.nn import functional

from shapetrace import trace

_TURNS, _LAYERS, _BATCHES = 25, 30, 4

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


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(16)
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)
        self.gelu, self.dropout = nn.GELU(), nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(self.dropout(self.gelu(self.up(self.norm(x)))))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(32), nn.Linear(32, 96), Residual()
        self.narrow, self.wide = nn.Linear(32, 16), nn.Linear(16, 32)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = (
            one.view(batch, length, 4, -1).transpose(1, 2)
            for one in self.qkv(self.norm(x)).chunk(3, -1)
        )
        weights = (q @ k.transpose(-2, -1) / 2.8).softmax(-1)
        joined = (weights @ v).transpose(1, 2).reshape(batch, length, width)
        return x + self.wide(self.out(self.narrow(joined)))


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.three, self.four = nn.Linear(256, 84), nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.one(x)), 2)
        x = functional.max_pool2d(functional.relu(self.two(x)), 2)
        return self.four(functional.relu(self.three(x.flatten(1))))


def _layers() -> list[nn.Module]:
    many = [
        [nn.Linear(64, 64), nn.ReLU(), nn.LayerNorm(64), nn.Dropout(), nn.GELU()]
        for _ in range(6)
    ]
    return list(chain(*many))


MIXED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "6 residual blocks": (
        lambda: nn.Sequential(*(Residual() for _ in range(6))),
        (8, 16),
    ),
    "4 attentions": (
        lambda: nn.Sequential(*(Attention() for _ in range(4))),
        (2, 8, 32),
    ),
    "small convolutions": (Convolutions, (4, 1, 28, 28)),
    "TransformerEncoder": (
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 3
        ),
        (2, 8, 32),
    ),
    "30 mixed layers": (lambda: nn.Sequential(*_layers()), (32, 64)),
}


def measure(model: nn.Module, shape: tuple[int, ...]) -> list[str]:
    x = torch.randn(shape)
    warm: list[int] = []
    cold: list[int] = []
    measured: list[int] = []
    first: list[int] = []
    later: list[int] = []
    uncertain: list[int] = []
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
        uncertain += [t.costs.calls[call.index].uncertain_ns or 0 for call in tops[1:]]
    usual = _lower(warm)
    ratios = [_lower(times) / usual for times in (cold, measured, first, later)]
    said = [f"{ratio:.2f}" for ratio in ratios]
    # of the batch that is shown: what was interrupted is surer of its long time
    off = uncertain[later.index(_lower(later))] / _lower(later)
    return [f"{usual / 1e3:.0f}", *said, f"{off:.2f}"]


def _lower(times: list[int]) -> int:
    """The lower quartile."""
    return sorted(times)[len(times) // 4]


def _took(model: nn.Module, x: Tensor) -> int:
    start = perf_counter_ns()
    model(x)
    return perf_counter_ns() - start


def main() -> None:
    torch.set_num_threads(1)
    with torch.no_grad():
        rows = [
            [name, *measure(nn.Sequential(*(make() for _ in range(_LAYERS))), shape)]
            for name, (make, shape) in KINDS.items()
        ]
        rows += [[name, *measure(make(), of)] for name, (make, of) in MIXED.items()]
    head = ["net", "untraced us", "cold", "measured, first batch"]
    head += ["corrected, first", "corrected, later", "later, said to be uncertain by"]
    print(tabulate(rows, head, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
