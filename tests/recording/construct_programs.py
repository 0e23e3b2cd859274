"""What people write around and inside a model: each program runs untraced, under plain
forward hooks and under a trace. It gets a context manager to put around its batch, and
returns whatever its batch computed."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import pickle
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn.utils import parametrizations, parametrize
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset

Watch = Callable[..., AbstractContextManager[Any]]
Program = Callable[[Watch], Any]
PROGRAMS: list[Program] = []


def program(made: Program) -> Program:
    PROGRAMS.append(made)
    return made


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def step(model: nn.Module, x: torch.Tensor) -> Any:
    y = model(x)
    y.float().pow(2).mean().backward()
    return y, [p.grad for p in model.parameters()]


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


# -- tensors of other kinds ----------------------------------------------------------


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


# -- modules of other kinds ----------------------------------------------------------


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


# -- hooks and modes of others -------------------------------------------------------


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


# -- control flow --------------------------------------------------------------------


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


# -- data ----------------------------------------------------------------------------


class Squares(Dataset[Any]):
    """Uses a module in its workers."""

    def __init__(self) -> None:
        self.layer = nn.Linear(1, 4)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, at: int) -> torch.Tensor:
        with torch.no_grad():
            return self.layer(torch.full((1,), float(at)))


def load(watch: Watch, how: str) -> Any:
    model, data = net(), Squares()
    with watch(model):
        loader = DataLoader(
            data, batch_size=2, num_workers=1, multiprocessing_context=how
        )
        return [model(batch) for batch in loader]


@program
def workers_forked(watch: Watch) -> Any:
    return load(watch, "fork")


@program
def workers_spawned(watch: Watch) -> Any:
    return load(watch, "spawn")


@program
def averaged_copies(watch: Watch) -> Any:
    model = net()
    averaged = torch.optim.swa_utils.AveragedModel(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model):
        for _ in range(3):
            step(model, torch.ones(2, 4))
            optimizer.step()
            averaged.update_parameters(model)
    return averaged(torch.ones(2, 4)), model.state_dict()
