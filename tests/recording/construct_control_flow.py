"""Programs of the table in `construct_programs`: control flow."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
import threading
from collections.abc import Iterator
from typing import Any

import torch
from construct_table import Watch, net, program
from torch import nn


@program
def generators(watch: Watch) -> Any:
    model = net()

    def outputs() -> Iterator[torch.Tensor]:
        for size in (1, 2, 3):
            yield model(torch.ones(size, 4))

    with watch(model):
        made = outputs()
        first = next(made)
        between = model[0](torch.ones(1, 4))
        return first, between, list(made)


@program
def coroutines(watch: Watch) -> Any:
    model = net()

    async def one(size: int) -> Any:
        first = model(torch.ones(size, 4))
        await asyncio.sleep(0)
        return first, model(torch.ones(size, 4))

    async def everything() -> Any:
        return await asyncio.gather(*[one(size) for size in (1, 2, 3)])

    with watch(model):
        return asyncio.run(everything())


@program
def one_thread_after_another(watch: Watch) -> Any:
    model = net()
    found: list[Any] = []
    with watch(model):
        for size in (1, 2, 3):
            call = functools.partial(model, torch.ones(size, 4))
            thread = threading.Thread(target=lambda call=call: found.append(call()))
            thread.start()
            thread.join()
    return found


class Beside(nn.Module):
    """Another model runs in a thread while its own call is open."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.other = nn.Linear(4, 4), [net()]

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        def call() -> None:
            found.append(self.other[0](x))

        found = [self.fc(x)]
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        return [self.fc(found[0]), *found]


@program
def a_batch_of_another_thread_meanwhile(watch: Watch) -> Any:
    model = Beside()
    with watch(model, *model.other):
        found = model(torch.ones(2, 4))
        found[0].sum().backward()
    return found, [p.grad for p in model.parameters()]


class Recursive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, depth: int) -> torch.Tensor:
        return self(self.fc(x), depth - 1) if depth else x


@contextlib.contextmanager
def deep_recursion() -> Iterator[None]:
    was = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000)
    try:
        yield
    finally:
        sys.setrecursionlimit(was)


@program
def recursion_500_deep(watch: Watch) -> Any:
    model = Recursive()
    with deep_recursion(), watch(model):
        return model(torch.ones(2, 4), 500)


@program
def nesting_500_deep(watch: Watch) -> Any:
    model: nn.Module = nn.Linear(4, 4)
    for _ in range(500):
        model = nn.Sequential(model)
    with deep_recursion(), watch(model):
        return model(torch.ones(2, 4))
