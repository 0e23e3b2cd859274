"""Programs of the table in `construct_programs`: modules of other kinds."""

from __future__ import annotations

from typing import Any

import torch
from construct_table import Watch, net, program, step
from torch import nn
from torch.nn.utils import parametrizations, parametrize


@program
def parametrised(watch: Watch) -> Any:
    model = nn.Sequential(
        parametrizations.weight_norm(nn.Linear(4, 4)),
        parametrizations.spectral_norm(nn.Linear(4, 4)),
        parametrizations.orthogonal(nn.Linear(4, 4)),
    )
    with watch(model):
        first = step(model, torch.ones(2, 4))
        with parametrize.cached():
            return first, model(torch.ones(2, 4))


@program
def lazy_modules(watch: Watch) -> Any:
    torch.manual_seed(3)
    model = nn.Sequential(nn.LazyLinear(5), nn.ReLU(), nn.LazyLinear(2))
    with watch(model):
        y = model(torch.ones(2, 4))
        z = model(torch.ones(3, 4))
    return y, z, type(model[0]).__name__, list(vars(model[0])), model.state_dict()


class Falsy(nn.Module):
    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1


class Unhashable(nn.Module):
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("do not compare")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


class Wraps(nn.Module):
    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        for at, part in enumerate(parts):
            setattr(self, f"part{at}", part)
        self.count = len(parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for at in range(self.count):
            x = getattr(self, f"part{at}")(x)
        return x


@program
def falsy_modules(watch: Watch) -> Any:
    model = Wraps(Falsy(), nn.Linear(4, 3), Falsy())
    with watch(model):
        return step(model, torch.ones(2, 4))


class Hides(nn.Module):
    """Its attributes are not to be trusted."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 3)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "body":
            return super().__getattr__(name)
        raise RuntimeError(f"do not ask for {name}")

    def __repr__(self) -> str:
        raise RuntimeError("do not print")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


@program
def modules_that_do_not_answer(watch: Watch) -> Any:
    model = nn.Sequential(Hides(), nn.ReLU())
    with watch(model):
        return step(model, torch.ones(2, 4))


@program
def modules_changed_inside(watch: Watch) -> Any:
    model = net()
    with watch(model):
        first = model(torch.ones(2, 4))
        model[1] = nn.Tanh()
        model.append(nn.Linear(3, 3))
        second = model(torch.ones(2, 4))
        del model[1]
        return first, second, model(torch.ones(2, 4))


@program
def shared_and_repeated(watch: Watch) -> Any:
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer, nn.ReLU(), layer, layer)
    with watch(model):
        return step(model, torch.ones(2, 4))


@program
def data_parallel(watch: Watch) -> Any:
    model = nn.DataParallel(net())
    with watch(model):
        return step(model, torch.ones(2, 4))
