"""Programs of the table in `construct_programs`: hooks and modes of others."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import torch
from construct_table import Watch, net, program, step
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode


@program
def hooks_that_change(watch: Watch) -> Any:
    model = net()
    model[0].register_forward_pre_hook(lambda m, args: (args[0] * 2,))
    model[0].register_forward_hook(lambda m, args, out: out + 1)
    model[2].register_forward_hook(
        lambda m, args, kwargs, out: (out, kwargs), with_kwargs=True
    )
    model[1].register_full_backward_hook(lambda m, gi, go: (gi[0] * 3,))
    handle = model[1].register_forward_hook(lambda m, args, out: handle.remove())
    with watch(model):
        y, kwargs = model(torch.ones(2, 4))
        y.sum().backward()
    return y, kwargs, [p.grad for p in model.parameters()]


@program
def hooks_that_come_and_go_inside(watch: Watch) -> Any:
    model = net()
    with watch(model):
        first = model[2].register_forward_hook(lambda m, args, out: out + 1)
        y = model(torch.ones(2, 4))
        first.remove()
        model[2].register_forward_hook(lambda m, args, out: out + 2)
        return y, model(torch.ones(2, 4))


@program
def modules_pickled_in_their_own_hooks(watch: Watch) -> Any:
    model = net()
    kept: list[Any] = []

    def keep(module: nn.Module, args: Any, output: Any) -> None:
        kept.append((pickle.dumps(module[0]), copy.deepcopy(module[0])))

    handle = model.register_forward_hook(keep)
    with watch(model):
        y = model(torch.ones(2, 4))
    handle.remove()
    saved, copied = kept[0]
    return y, pickle.loads(saved)(torch.ones(2, 4)), copied(torch.ones(2, 4))


class CountsFunctions(TorchFunctionMode):
    def __init__(self) -> None:
        self.names: list[str] = []

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.names.append(getattr(function, "__name__", str(function)))
        return function(*args, **(kwargs or {}))


class CountsOperators(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


@program
def modes_inside(watch: Watch) -> Any:
    model = net()
    functions, operators = CountsFunctions(), CountsOperators()
    with watch(model), functions, operators:
        y = step(model, torch.ones(2, 4))
    return y, functions.names, operators.names


@program
def modes_around(watch: Watch) -> Any:
    model = net()
    functions, operators = CountsFunctions(), CountsOperators()
    with functions, operators:
        functions.names.clear()
        operators.names.clear()
        with watch(model):
            y = step(model, torch.ones(2, 4))
            seen = functions.names[:], operators.names[:]
    return y, seen


@program
def a_default_device(watch: Watch) -> Any:
    model = net()
    with watch(model), torch.device("cpu"):
        return model(torch.ones(2, 4))


@program
def flop_counter(watch: Watch) -> Any:
    from torch.utils.flop_counter import FlopCounterMode

    model = net()
    with watch(model), FlopCounterMode(display=False) as counter:
        y = step(model, torch.ones(2, 4))
    return y, counter.get_total_flops()


@program
def profiler(watch: Watch) -> Any:
    model = net()
    with watch(model), torch.profiler.profile() as seen:
        y = step(model, torch.ones(2, 4))
    names = {event.name for event in seen.events()}
    return y, "aten::linear" in names


@program
def torchinfo_inside(watch: Watch) -> Any:
    torchinfo = __import__("torchinfo")
    model = net()
    with watch(model):
        found = torchinfo.summary(model, input_size=(2, 4), verbose=0)
        return model(torch.ones(2, 4)), found.total_params, found.total_mult_adds
