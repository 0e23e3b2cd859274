"""Programs of the table in `construct_programs`: what goes in and comes out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from construct_table import Watch, program
from torch import nn


class DeepList(nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        self.depth = depth

    def forward(self, x: torch.Tensor) -> Any:
        value: Any = x + 1
        for _ in range(self.depth):
            value = [value]
        return value


@program
def deep_lists(watch: Watch) -> Any:
    model = DeepList(5_000)
    with watch(model):
        value = model(torch.ones(2))
    depth = 0
    while isinstance(value, list):
        (value,) = value
        depth += 1
    return depth, value


class Circular(nn.Module):
    def forward(self, x: torch.Tensor) -> Any:
        value: list[Any] = [x + 1]
        value.append(value)
        return {"value": value}


@program
def circular_outputs(watch: Watch) -> Any:
    model = Circular()
    with watch(model):
        value = model(torch.ones(2))["value"]
    return value[0], value[1] is value


class Hostile:
    """Not a tensor, and no good to look at."""

    def __repr__(self) -> str:
        raise RuntimeError("do not look")

    __str__ = __hash__ = __repr__  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("do not compare")

    def __len__(self) -> int:
        raise RuntimeError("do not count")

    def __bool__(self) -> bool:
        raise RuntimeError("do not ask")

    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError("do not walk")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("do not ask")


class LyingDict(dict):  # type: ignore[type-arg]
    def values(self) -> Any:
        raise RuntimeError("do not walk")

    items = keys = __iter__ = __len__ = values


class PassesAlong(nn.Module):
    def forward(self, x: torch.Tensor, *others: Any, **more: Any) -> Any:
        return x + 1, others, more


@program
def hostile_arguments(watch: Watch) -> Any:
    model = PassesAlong()
    hostile, lying = Hostile(), LyingDict(a=torch.ones(1))
    with watch(model):
        y, others, more = model(torch.ones(2), hostile, [lying], key=hostile)
        z = torch.stack([y, y])
    return y, z, others[0] is hostile, others[1][0] is lying, more["key"] is hostile
