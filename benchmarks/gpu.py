"""What a trace tells of an accelerator, against events, kernels and the allocator.

    python benchmarks/gpu.py              times and memory of all nets
    python benchmarks/gpu.py resnet50     of that one

Needs an accelerator. Milliseconds of a forward, as a trace tells them, beside what
events around it untraced tell and what its kernels take by torch.profiler; medians.
"""

from __future__ import annotations

import gc
import statistics
import sys
import warnings
from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from tabulate import tabulate
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from shapetrace import trace

Net = tuple[nn.Module, Tensor, Tensor]
_TURNS = 7
OPTIONS: dict[str, dict[str, bool]] = {
    "functions=False": {"functions": False},
    "default": {},
    "memory": {"memory": True},
    "backward": {"backward": True},
}


def chain(blocks: int, width: int, batch: int) -> Net:
    model = nn.Sequential(
        *[nn.Sequential(nn.Linear(width, width), nn.GELU()) for _ in range(blocks)]
    )
    return model, torch.randn(batch, width), torch.randint(width, (batch,))


def resnet50() -> Net:
    from torchvision.models import resnet50

    images = torch.randn(32, 3, 224, 224)
    return resnet50(weights=None), images, torch.randint(1000, (32,))


def gpt2() -> Net:
    from transformers import GPT2Config, GPT2LMHeadModel

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gpt2 = GPT2LMHeadModel(GPT2Config(use_cache=False))

        def forward(self, tokens: Tensor) -> Tensor:
            logits: Tensor = self.gpt2(tokens).logits
            return logits.flatten(0, 1)

    return Logits(), torch.randint(50257, (8, 512)), torch.randint(50257, (4096,))


NETS: dict[str, Callable[[], Net]] = {
    "wide": lambda: chain(12, 4096, 4096),
    "resnet50": resnet50,
    "gpt2": gpt2,
    "narrow": lambda: chain(100, 64, 32),
}


def on_device(name: str) -> Net:
    device = torch.accelerator.current_accelerator()
    model, x, y = NETS[name]()
    return model.to(device), x.to(device), y.to(device)


def step(model: nn.Module, x: Tensor, y: Tensor) -> None:
    F.cross_entropy(model(x), y).backward()
    model.zero_grad()


def kernels(model: nn.Module, x: Tensor) -> float:
    """Milliseconds that the kernels of a forward take."""
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        model(x)
        torch.accelerator.synchronize()
    events = found.events() or []
    return sum(one.device_time_total for one in events) / 1e3


def untraced(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Milliseconds of a forward by events around it, the backward not among them."""
    start, end = (torch.Event(enable_timing=True) for _ in range(2))
    start.record()
    output = model(x)
    end.record()
    F.cross_entropy(output, y).backward()
    model.zero_grad()
    torch.accelerator.synchronize()
    return float(start.elapsed_time(end))


def times(name: str) -> list[dict[str, Any]]:
    model, x, y = on_device(name)
    for _ in range(4):
        step(model, x, y)
    torch.accelerator.synchronize()
    events = statistics.median(untraced(model, x, y) for _ in range(_TURNS))
    known = {"net": name, "kernels": kernels(model, x), "events": events}
    rows = []
    for title, options in OPTIONS.items():
        told, idle, took = [], [], []
        for _ in range(_TURNS):
            gc.collect()
            start = perf_counter()
            with trace(model, **options) as t:
                step(model, x, y)
            took.append((perf_counter() - start) * 1e3)
            told.append((t.costs.calls[0].device_ns or 0) / 1e6)
            idle.append(sum(call.device_idle for call in t.calls) / len(t.calls))
        said = {"told": statistics.median(told), "idle": statistics.median(idle)}
        rows.append({**known, "trace": title, **said, "ms": statistics.median(took)})
    return rows


def memory(name: str) -> list[dict[str, Any]]:
    """What batches of other sizes hold, drawn from one, and what the allocator says."""
    model, x, y = on_device(name)
    optimizer = torch.optim.AdamW(model.parameters())

    def run(images: Tensor, labels: Tensor) -> int:
        torch.accelerator.empty_cache()
        torch.accelerator.reset_peak_memory_stats()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        torch.accelerator.synchronize()
        return torch.accelerator.max_memory_allocated()

    run(x, y)
    with trace(model, memory=True, checks=False) as t:
        run(x, y)
    rows = []
    for size in (len(x) // 4, len(x), len(x) * 4):
        images = x[:1].expand(size, *x.shape[1:]).contiguous()
        held = run(images, y[:1].expand(size * len(y) // len(x)).contiguous())
        said = t.memory_for(size)
        low, high = said.low / held, said.high / held
        row = {"net": name, "batch": size, "allocator MB": held / 1e6}
        rows.append({**row, "told": said.bytes / held, "from": low, "to": high})
    return rows


def main() -> None:
    warnings.simplefilter("ignore")
    names = sys.argv[1:] or [*NETS]
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}\n")
    for measure in (times, memory):
        rows = [row for name in names for row in measure(name)]
        print(tabulate(rows, headers="keys", floatfmt=".2f"), end="\n\n")


if __name__ == "__main__":
    main()
