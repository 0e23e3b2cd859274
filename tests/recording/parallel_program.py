"""Models spread over two ranks: each is run untraced, under plain hooks and traced, and
must come to the same. Started by torchrun; fails with an assertion."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)
from torch.nn.modules import module as torch_module
from torch.nn.parallel import DistributedDataParallel

import shapetrace

Watch = Callable[[nn.Module], Any]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x).relu())


def step(model: nn.Module, watch: Watch) -> list[Any]:
    x = torch.ones(3, 8) * (dist.get_rank() + 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model):
        for _ in range(2):
            loss = model(x).pow(2).mean()
            loss.backward()
            optimizer.step()
    return [loss.detach(), *(p.detach() for p in model.parameters())]


def data_parallel(watch: Watch) -> list[Any]:
    return step(DistributedDataParallel(Net()), watch)


def fully_sharded(watch: Watch) -> list[Any]:
    model = Net()
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    fully_shard(model.first, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return step(model, watch)


def sharded_from_meta(watch: Watch) -> list[Any]:
    """What has no values yet is sharded, made real and filled, all inside the block."""
    with torch.device("meta"):
        model = Net()
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    with watch(model):
        fully_shard(model.first, mesh=mesh)
        fully_shard(model, mesh=mesh)
        model.to_empty(device="cpu")
        for parameter in model.parameters():
            nn.init.constant_(parameter, 0.01)
        model.to(torch.float64)
        loss = model(torch.ones(3, 8).double()).pow(2).mean()
        loss.backward()
    return [loss.detach(), *(p.detach() for p in model.parameters())]


def tensor_parallel(watch: Watch) -> list[Any]:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    plan = {"first": ColwiseParallel(), "second": RowwiseParallel()}
    return step(parallelize_module(Net(), mesh, plan), watch)


def distributed_tensors(watch: Watch) -> list[Any]:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    model = nn.Sequential(nn.ReLU(), nn.Tanh())
    x = distribute_tensor(torch.arange(8.0), mesh, [Shard(0)])
    with watch(model):
        y = model(x)
        whole = y.redistribute(mesh, [Replicate()])
    return [y.to_local(), whole.to_local()]


def local(value: Any) -> torch.Tensor:
    return value.to_local() if hasattr(value, "to_local") else value


def check(program: Callable[[Watch], list[Any]], **options: Any) -> None:
    def run(watch: Watch) -> list[torch.Tensor]:
        torch.manual_seed(0)
        return [local(value).clone() for value in program(watch)]

    traces: list[shapetrace.Trace] = []
    types: list[str] = []

    @contextlib.contextmanager
    def hooked(model: nn.Module) -> Any:
        handle = torch_module.register_module_forward_pre_hook(
            lambda module, args: types.append(type(module).__name__)
        )
        yield
        handle.remove()

    def traced(model: nn.Module) -> shapetrace.Trace:
        traces.append(shapetrace.trace(model, **options))
        return traces[-1]

    untraced = run(lambda model: contextlib.nullcontext())
    run(hooked)
    found = run(traced)
    name = f"{program.__name__} {options}"
    assert all(map(torch.equal, untraced, found)), name
    (t,) = traces
    assert [call.type for call in t.calls] == types, name
    assert not [note for note in t.recording.notes if "incomplete" in note], name
    assert str(t) and str(t.explain()) and len(t.to_dataframe()) == len(types), name


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    for program in (
        data_parallel,
        fully_sharded,
        sharded_from_meta,
        tensor_parallel,
        distributed_tensors,
    ):
        for options in ({}, {"functions": False}, {"memory": True, "backward": True}):
            check(program, **options)
    dist.destroy_process_group()
