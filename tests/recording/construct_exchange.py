"""Programs of the table in `construct_programs`: torch exchanges tensors of modules,
which it does of none that anybody refers to weakly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from construct_table import Watch, net, program, step
from torch import nn


@contextmanager
def exchanging() -> Iterator[None]:
    """Modules exchange their parameters when they are converted or loaded."""
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        yield
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


def norm() -> nn.Module:
    return nn.Sequential(net(), nn.BatchNorm1d(3))


@program
def converted(watch: Watch) -> Any:
    """With gradients, before and after an optimizer's step that has met them."""
    model = norm()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, foreach=False)
    with exchanging(), watch(model):
        before = step(model, torch.ones(2, 4))
        optimizer.step()
        model.to(torch.float64)
        after = step(model, torch.ones(2, 4).double())
        optimizer.step()
    return before, after, model.state_dict(), [p.grad for p in model.parameters()]


@program
def loaded(watch: Watch) -> Any:
    model, other = norm(), norm().state_dict()
    with exchanging(), watch(model):
        with torch.no_grad():
            before = model(torch.ones(2, 4))
        model.load_state_dict(other)
        with torch.no_grad():
            after = model(torch.ones(2, 4))
        model.load_state_dict(other, assign=True)
    return before, after, model.state_dict()


@program
def converted_afterwards(watch: Watch) -> Any:
    """While somebody holds the trace."""
    model = norm()
    with watch(model):
        before = step(model, torch.ones(2, 4))
    with exchanging():
        model.to(torch.float64)
    return before, model.state_dict()


@program
def made_and_converted(watch: Watch) -> Any:
    with exchanging(), watch():
        model = norm()
        model.to(torch.float64)
        return step(model, torch.ones(2, 4).double()), model.state_dict()


@program
def given_another_s_parameter(watch: Watch) -> Any:
    model = norm()
    model.eval()
    with watch(model), torch.no_grad():
        before = model(torch.ones(2, 4))
        old = next(model.parameters())
        new = nn.Parameter(torch.zeros_like(old))
        torch.utils.swap_tensors(old, new)
        return before, model(torch.ones(2, 4)), old, new
