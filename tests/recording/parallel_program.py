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
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    PrepareModuleInput,
    RowwiseParallel,
    SequenceParallel,
    loss_parallel,
    parallelize_module,
)
from torch.nn.modules import module as torch_module
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

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


class Checkpointed(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return checkpoint(super().forward, x, use_reentrant=False)


def sharded_in_half_precision(watch: Watch) -> list[Any]:
    """With what is computed again in the backward, and weights kept after a forward."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, torch.float32)
    model = nn.Sequential(nn.Linear(8, 8), Checkpointed())
    for one in (*model, model):
        fully_shard(one, mesh=mesh, mp_policy=policy, reshard_after_forward=False)
    return step(model, watch)


def sharded_both_ways(watch: Watch) -> list[Any]:
    mesh = init_device_mesh(
        "cpu", (1, dist.get_world_size()), mesh_dim_names=("data", "tensor")
    )
    plan = {"first": ColwiseParallel(), "second": RowwiseParallel()}
    model = parallelize_module(Net(), mesh["tensor"], plan)
    return step(fully_shard(model, mesh=mesh["data"]), watch)


class Blocks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.net, self.head = nn.LayerNorm(8), Net(), nn.Linear(4, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.net(self.norm(x)))


def sequence_and_loss_parallel(watch: Watch) -> list[Any]:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    plan = {
        "norm": SequenceParallel(),
        "net": PrepareModuleInput(
            input_layouts=(Shard(1),), desired_input_layouts=(Replicate(),)
        ),
        "net.first": ColwiseParallel(),
        "net.second": RowwiseParallel(),
        "head": ColwiseParallel(use_local_output=False),
    }
    model = parallelize_module(Blocks(), mesh, plan)
    with watch(model), loss_parallel():
        logits = model(torch.arange(48.0).view(3, 2, 8))  # half of the steps
        target = torch.arange(12) % 6
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), target)
        loss.backward()
    return [loss.detach(), *(p.detach() for p in model.parameters())]


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


class Wrong(Net):
    """Whose second layer does not take what the first gives."""

    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Linear(12, 4)


def sharded(model: nn.Module) -> nn.Module:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    return fully_shard(model, mesh=mesh)


def tensor_sharded(model: nn.Module) -> nn.Module:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    return parallelize_module(model, mesh, {"first": ColwiseParallel()})


def check_failing(spread: Callable[[nn.Module], nn.Module], given: int) -> None:
    """The layer is named whose shapes do not fit, with what it was given here."""

    def left(watch: Watch) -> str:
        torch.manual_seed(0)
        model = spread(Wrong())
        try:
            with watch(model):
                model(torch.ones(3, 8))
        except RuntimeError as error:
            return str(error)
        return ""

    traces: list[shapetrace.Trace] = []

    def traced(model: nn.Module) -> shapetrace.Trace:
        traces.append(shapetrace.trace(model))
        return traces[-1]

    assert left(lambda model: contextlib.nullcontext()) == left(traced) != ""
    failure = traces[0].failure
    assert failure is not None and failure.where == "module:second", failure
    said = f"dim 1 of the input is {given}, its in_features is 12"
    assert said in failure.message, failure


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    for program in (
        data_parallel,
        fully_sharded,
        sharded_from_meta,
        sharded_in_half_precision,
        tensor_parallel,
        sharded_both_ways,
        sequence_and_loss_parallel,
        distributed_tensors,
    ):
        for options in ({}, {"functions": False}, {"memory": True, "backward": True}):
            check(program, **options)
    check_failing(sharded, 16)
    check_failing(tensor_sharded, 8)  # half of the first layer's is on this rank
    dist.destroy_process_group()
