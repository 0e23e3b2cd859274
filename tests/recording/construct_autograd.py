"""Programs of the table in `construct_programs`: autograd and torch.func."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from construct_table import Watch, net, program, step
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.utils.checkpoint import checkpoint

# -- autograd ------------------------------------------------------------------------


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.body, self.head = net(), nn.Linear(3, 2)
        self.reentrant = reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(checkpoint(self.body, x, use_reentrant=self.reentrant))


@program
def checkpointing(watch: Watch) -> Any:
    model = Checkpointed(reentrant=False)
    with watch(model):
        return step(model, torch.ones(2, 4))


@program
def checkpointing_reentrant(watch: Watch) -> Any:
    model = Checkpointed(reentrant=True)
    with watch(model):
        return step(model, torch.ones(2, 4, requires_grad=True))


@program
def inference_mode(watch: Watch) -> Any:
    model = net()
    with watch(model), torch.inference_mode():
        y = model(torch.ones(2, 4))
    return y, y.is_inference()


@program
def trace_inside_inference_mode(watch: Watch) -> Any:
    model = net()
    with torch.inference_mode(), watch(model):
        y = model(torch.ones(2, 4))
    return y, y.is_inference()


@program
def autocast(watch: Watch) -> Any:
    model = net()
    with watch(model), torch.autocast("cpu", torch.bfloat16):
        return step(model, torch.ones(2, 4))


@program
def autocast_around(watch: Watch) -> Any:
    model = net()
    with torch.autocast("cpu", torch.bfloat16), watch(model):
        return step(model, torch.ones(2, 4))


@program
def anomaly_detection(watch: Watch) -> Any:
    model = net()
    with watch(model), torch.autograd.set_detect_anomaly(True):
        return step(model, torch.ones(2, 4))


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return grad * 2


class UsesFunction(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = net()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Doubled.apply(self.body(x))


@program
def custom_autograd_function(watch: Watch) -> Any:
    model = UsesFunction()
    with watch(model):
        return step(model, torch.ones(2, 4))


@program
def second_derivatives(watch: Watch) -> Any:
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    x = torch.ones(2, 4, requires_grad=True)
    with watch(model):
        (first,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        first.pow(2).sum().backward()
    return [p.grad for p in model.parameters()], x.grad


# -- torch.func ----------------------------------------------------------------------


@program
def functional(watch: Watch) -> Any:
    model = net()
    weights = {name: torch.ones_like(p) for name, p in model.named_parameters()}
    with watch(model):
        return functional_call(model, weights, (torch.ones(2, 4),))


@program
def per_sample_gradients(watch: Watch) -> Any:
    model = net()
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def loss(weights: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        out = functional_call(model, weights, (x.unsqueeze(0),))
        return F.mse_loss(out, y.unsqueeze(0))

    with watch(model):
        each = vmap(grad(loss), in_dims=(None, 0, 0))
        return each(weights, torch.ones(5, 4), torch.ones(5, 3))


@program
def vmapped(watch: Watch) -> Any:
    model = net()
    with watch(model):
        return vmap(model)(torch.ones(5, 4))


@program
def jacobian(watch: Watch) -> Any:
    model = net()
    with watch(model):
        return torch.func.jacrev(model)(torch.ones(4))
