"""Programs of the table in `construct_programs`: tensors of other kinds."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from construct_table import Watch, net, program
from torch import nn


@program
def meta_device(watch: Watch) -> Any:
    with torch.device("meta"):
        model = net()
        x = torch.ones(2, 4)
    with watch(model):
        return tuple(model(x).shape)


@program
def fake_tensors(watch: Watch) -> Any:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        model = net()
        with watch(model):
            return tuple(model(torch.ones(2, 4)).shape)


@program
def nested_tensors(watch: Watch) -> Any:
    model = net()
    parts = [torch.ones(2, 4), torch.ones(3, 4)]
    x = torch.nested.nested_tensor(parts, layout=torch.jagged)
    with watch(model):
        return list(model(x).unbind())


class Sparse(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(6, 4, sparse=True)
        self.fc = nn.Linear(4, 3)

    def forward(self, ids: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
        return torch.sparse.mm(by, self.fc(self.embed(ids)))


@program
def sparse_tensors(watch: Watch) -> Any:
    model = Sparse()
    with watch(model):
        y = model(torch.tensor([0, 2]), torch.eye(2).to_sparse())
        y.sum().backward()
    return y, model.embed.weight.grad.to_dense()


@program
def complex_tensors(watch: Watch) -> Any:
    model = nn.Linear(4, 3, dtype=torch.complex64)
    with watch(model):
        y = model(torch.ones(2, 4, dtype=torch.complex64))
        y.abs().sum().backward()
    return y, model.weight.grad


class Quantised(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.quantize_per_tensor(x, 0.1, 0, torch.qint8).dequantize()


@program
def quantised_tensors(watch: Watch) -> Any:
    model = nn.Sequential(nn.Linear(4, 3), Quantised())
    with watch(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model(torch.ones(2, 4))


class Tagged(torch.Tensor):
    """A subclass that keeps its own type through every function."""


class Odd(torch.Tensor):
    """A subclass that answers in its own way, and refuses to be looked at."""

    def __repr__(self) -> str:
        raise RuntimeError("do not look")

    __str__ = __repr__

    def __len__(self) -> int:
        raise RuntimeError("do not count")

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            made = function(*args, **(kwargs or {}))
        return made.as_subclass(cls) if type(made) is torch.Tensor else made


@program
def subclasses(watch: Watch) -> Any:
    model = net()
    with watch(model):
        y = model(torch.ones(2, 4).as_subclass(Tagged))
        z = model(torch.ones(2, 4).as_subclass(Odd))
    return y, type(y).__name__, z.as_subclass(torch.Tensor), type(z).__name__


class NotATensor:
    """Takes part in torch functions without being a tensor."""

    def __init__(self, value: torch.Tensor) -> None:
        self.value = value

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        bare = [a.value if isinstance(a, NotATensor) else a for a in args]
        return cls(function(*bare, **(kwargs or {})))


@program
def what_is_like_a_tensor(watch: Watch) -> Any:
    model = nn.Sequential(nn.ReLU(), nn.Tanh())
    with watch(model):
        return model(NotATensor(torch.ones(2))).value
