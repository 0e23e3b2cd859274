"""The nets whose forward is timed: one bound by dispatch, two by arithmetic."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Net = tuple[nn.Module, Tensor]


class Residual(nn.Module):
    """Tiny blocks in a row: nearly all of the time is Python and dispatch."""

    def __init__(self, blocks: int = 300) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + layer(x)
        return x


def dispatch() -> Net:
    torch.set_num_threads(1)
    return Residual(), torch.randn(4, 8)


def resnet50() -> Net:
    from torchvision.models import resnet50 as make

    return make(weights=None), torch.randn(2, 3, 224, 224)


def gpt2() -> Net:
    from transformers import GPT2Config, GPT2Model

    return GPT2Model(GPT2Config()), torch.randint(50257, (1, 64))


NETS: dict[str, Callable[[], Net]] = {
    "dispatch": dispatch,
    "resnet50": resnet50,
    "gpt2": gpt2,
}

TITLES = {
    "dispatch": "300 x (x + Linear(8, 8), ReLU), batch 4, one thread",
    "resnet50": "ResNet-50, 2x3x224x224",
    "gpt2": "GPT-2 small, 1x64",
}
