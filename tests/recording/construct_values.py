"""Programs of the table in `construct_programs`: what goes in and comes out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
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


# -- values that say what is not so --------------------------------------------------


class Endless(list[Any]):
    """Says of itself that it has no end."""

    def __iter__(self) -> Iterator[Any]:
        return itertools.repeat(1)


class EndlessMapping(Mapping[Any, Any]):
    def __getitem__(self, key: Any) -> Any:
        return torch.ones(1)

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Any]:
        return itertools.count()


class Refuses(dict[Any, Any]):
    def items(self) -> Any:
        raise RuntimeError("do not look")

    __iter__ = keys = __len__ = items


class TooFewNames(tuple[Any, ...]):
    _fields = ("only",)


class SaysTensor:
    """As `unittest.mock.Mock(spec=torch.Tensor)` does."""

    @property
    def __class__(self) -> Any:
        return torch.Tensor


class SaysNothing:
    @property
    def __class__(self) -> Any:
        raise RuntimeError("do not ask")


class Nameless(type):
    def __getattribute__(cls, name: str) -> Any:
        if name == "__qualname__":
            raise RuntimeError("no name")
        return super().__getattribute__(name)


class WithoutName(metaclass=Nameless):
    pass


class Secretive(torch.Tensor):
    @property
    def dtype(self) -> Any:
        raise RuntimeError("do not look")

    grad_fn = requires_grad = device = dtype


def untrue() -> list[Any]:
    x = torch.ones(2)
    return [
        *(Endless([x]), EndlessMapping(), Refuses(x=x), TooFewNames((x, x))),
        *(SaysTensor(), SaysNothing(), WithoutName(), x.as_subclass(Secretive)),
    ]


class Passes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor, value: Any, *, named: Any) -> Any:
        return self.body(x), value, named


@program
def values_that_lie(watch: Watch) -> Any:
    model, x = Passes(), torch.ones(2, 4)
    with watch(model):
        return [model(x, one, named=one)[0] for one in untrue()]
