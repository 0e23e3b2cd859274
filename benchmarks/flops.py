"""Are the FLOPs right? Against torch's own FlopCounterMode, forward and backward.

    python benchmarks/flops.py             torchvision's families, GPT-2
    python benchmarks/flops.py resnet50    those alone

FlopCounterMode counts while the model runs; shapetrace afterwards, from the records.
Where layers have groups, torch's backward is too large, and the two are not equal.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from time import perf_counter

import torch
from tabulate import tabulate
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from shapetrace import trace

FAMILIES = [
    *("alexnet", "vgg11", "squeezenet1_0", "resnet50", "resnext50_32x4d"),
    *("wide_resnet50_2", "densenet121", "googlenet", "inception_v3", "mobilenet_v2"),
    *("mobilenet_v3_small", "mnasnet0_5", "shufflenet_v2_x0_5", "regnet_x_400mf"),
    *("regnet_y_400mf", "efficientnet_b0", "efficientnet_v2_s", "convnext_tiny"),
    *("vit_b_32", "swin_t", "swin_v2_t", "maxvit_t", "gpt2"),
]


def make(name: str) -> tuple[nn.Module, Callable[[nn.Module], Tensor]]:
    """A model, and what gives a scalar to differentiate."""
    if name == "gpt2":
        from transformers import GPT2Config, GPT2LMHeadModel

        tokens = torch.randint(50257, (1, 64))
        model = GPT2LMHeadModel(GPT2Config())
        return model, lambda model: model(tokens).logits.sum()
    from torchvision import models

    x = torch.randn(2, 3, *(2 * [299 if name == "inception_v3" else 224]))

    def run(model: nn.Module) -> Tensor:
        output = model(x)
        parts = [output] if isinstance(output, Tensor) else list(output)
        return torch.stack([part.sum() for part in parts]).sum()

    return getattr(models, name)(weights=None), run


def compare(name: str) -> dict[str, object]:
    model, run = make(name)
    with FlopCounterMode(display=False) as forward:
        loss = run(model)
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    with trace(model, checks=False) as t:
        run(model).backward()
    functions = len(t.functions)
    start = perf_counter()
    costs = t.costs
    seconds = perf_counter() - start
    wanted = (forward.get_total_flops(), backward.get_total_flops())
    return {
        "model": name,
        "forward GFLOPs": wanted[0] / 1e9,
        "backward GFLOPs": (costs.backward_flops or 0) / 1e9,
        "torch's backward": wanted[1] / 1e9,
        "equal": (costs.flops, costs.backward_flops) == wanted,
        "not counted": ", ".join(costs.uncounted),
        "functions": functions,
        "seconds": seconds,
    }


def main() -> None:
    warnings.simplefilter("ignore")  # torchvision's on initial weights
    rows = [compare(name) for name in sys.argv[1:] or FAMILIES]
    print(f"torch {torch.__version__}; seconds: counting afterwards\n")
    print(tabulate(rows, headers="keys", floatfmt=".2f"))


if __name__ == "__main__":
    main()
