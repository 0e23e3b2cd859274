"""What is timed: ways to watch one forward, ours and the peers' that are installed.

A subject is a context manager around the forward. The peers that insist on calling
the forward themselves are functions of the model and its input instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.overrides import TorchFunctionMode

Watch = Callable[[nn.Module], AbstractContextManager[Any]]
Whole = Callable[[nn.Module, Tensor], object]


class EmptyMode(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return func(*args, **(kwargs or {}))


@contextmanager
def installed(before: Any, after: Any, mode: Any = None) -> Iterator[None]:
    """Hooks of all modules, and a function mode."""
    handles = [
        register_module_forward_pre_hook(before),
        register_module_forward_hook(after, with_kwargs=True, always_call=True),
    ]
    try:
        with nullcontext() if mode is None else mode:
            yield
    finally:
        for handle in handles:
            handle.remove()


def empty_hooks(model: nn.Module) -> AbstractContextManager[None]:
    """What the hooks of a tracer cost that does nothing in them."""
    return installed(_before, _after)


def empty_hooks_and_mode(model: nn.Module) -> AbstractContextManager[None]:
    """The floor: what is left to a tracer is what it costs beyond this."""
    return installed(_before, _after, EmptyMode())


def _before(module: nn.Module, args: Any) -> None:
    pass


def _after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
    pass


def shapetrace(model: nn.Module) -> AbstractContextManager[Any]:
    from shapetrace import trace

    return trace(model)


def shapetrace_hooks_alone(model: nn.Module) -> AbstractContextManager[Any]:
    from shapetrace import trace

    return trace(model, functions=False)


def shapetrace_without_checks(model: nn.Module) -> AbstractContextManager[Any]:
    from shapetrace import trace

    return trace(model, checks=False)


def profiler_with_stacks(model: nn.Module) -> AbstractContextManager[Any]:
    from torch.profiler import ProfilerActivity, profile

    return profile(
        activities=[ProfilerActivity.CPU], record_shapes=True, with_stack=True
    )


def profiler_with_modules(model: nn.Module) -> AbstractContextManager[Any]:
    from torch.profiler import ProfilerActivity, profile

    return profile(
        activities=[ProfilerActivity.CPU],
        record_shapes=True,
        with_stack=True,
        with_modules=True,
    )


def flop_counter(model: nn.Module) -> AbstractContextManager[Any]:
    from torch.utils.flop_counter import FlopCounterMode

    return FlopCounterMode(display=False)


def debug_mode(model: nn.Module) -> AbstractContextManager[Any]:
    from torch.utils._debug_mode import DebugMode

    return DebugMode(record_nn_module=True)


def shapetrace_and_records(model: nn.Module, x: Tensor) -> object:
    from shapetrace import trace

    with trace(model) as t:
        model(x)
    return t.calls, t.functions


def torchinfo(model: nn.Module, x: Tensor) -> object:
    from torchinfo import summary

    return summary(model, input_data=x, verbose=0)


def torchview(model: nn.Module, x: Tensor) -> object:
    from torchview import draw_graph

    return draw_graph(model, input_data=x)


def torchlens(model: nn.Module, x: Tensor) -> object:
    from torchlens import trace

    return trace(model, x)


HOOKS, FLOOR = "empty hooks", "empty hooks and mode"

WATCH: dict[str, Watch] = {
    # measures the measuring: it should say 1.00
    "nothing": lambda model: nullcontext(),
    HOOKS: empty_hooks,
    FLOOR: empty_hooks_and_mode,
    "shapetrace": shapetrace,
    "shapetrace checks=False": shapetrace_without_checks,
    "shapetrace functions=False": shapetrace_hooks_alone,
    "torch.profiler stacks": profiler_with_stacks,
    "torch.profiler modules": profiler_with_modules,
    "FlopCounterMode": flop_counter,
    "DebugMode": debug_mode,
}

WHOLE: dict[str, Whole] = {
    # the records are made when they are first asked for: here they are
    "shapetrace, records made": shapetrace_and_records,
    "torchinfo": torchinfo,
    "torchview": torchview,
    "torchlens": torchlens,
}

OURS = [*list(WATCH)[:6], "shapetrace, records made"]
PEERS = [*list(WATCH)[6:], *(name for name in WHOLE if find_spec(name))]
