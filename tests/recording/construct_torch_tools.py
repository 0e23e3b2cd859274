"""Tools of torch's own around and inside a model."""

from __future__ import annotations

import asyncio
import copy
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from construct_table import Watch, net, program, step
from torch import nn
from torch.func import functional_call, hessian, jvp, vmap
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop


@contextmanager
def torch_s_own_warnings() -> Iterator[None]:
    """Of what is a prototype, or older than something else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@program
def jagged_attention(watch: Watch) -> Any:
    model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.GELU())
    ends = torch.tensor([0, 3, 8])
    x = torch.nested.nested_tensor_from_jagged(torch.randn(8, 8), ends)
    with watch(model), torch_s_own_warnings():
        heads = model(x).unflatten(-1, [2, 4]).transpose(1, 2)
        y = F.scaled_dot_product_attention(heads, heads, heads)
        y.transpose(1, 2).flatten(-2).values().sum().backward()
    return y.values(), [p.grad for p in model.parameters()]


@program
def forward_mode_and_hessian(watch: Watch) -> Any:
    model, x = net(), torch.randn(2, 4)
    parameters = dict(model.named_parameters())
    with watch(model), torch_s_own_warnings():
        both = jvp(model, (x,), (torch.ones_like(x),))
        second = hessian(lambda v: functional_call(model, parameters, (v,)).sum())(x)
    return both, second


class Symmetric(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight.triu() + weight.triu(1).T


@program
def a_cached_parametrisation(watch: Watch) -> Any:
    layer = nn.Linear(4, 4)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    model = nn.Sequential(layer, layer)
    with watch(model), parametrize.cached():
        return step(model, torch.randn(2, 4))


@program
def dynamically_quantised(watch: Watch) -> Any:
    with torch_s_own_warnings():
        model = torch.ao.quantization.quantize_dynamic(net(), {nn.Linear})
    with watch(model):
        return model(torch.randn(2, 4))


@program
def norms_of_weights(watch: Watch) -> Any:
    with torch_s_own_warnings():
        model = nn.Sequential(
            nn.utils.weight_norm(nn.Linear(4, 4)),
            nn.utils.spectral_norm(nn.Linear(4, 4)),
            nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)),
            nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)),
        )
    with watch(model):
        found = step(model, torch.randn(2, 4))
    return found, list(model.buffers())


@program
def lazy_modules_in_a_checkpoint(watch: Watch) -> Any:
    model = nn.Sequential(nn.LazyLinear(5), nn.ReLU(), nn.LazyLinear(2))
    x = torch.randn(2, 4, requires_grad=True)
    with watch(model):
        y = checkpoint(model, x, use_reentrant=False)
        y.sum().backward()
    return y, x.grad, [p.grad for p in model.parameters()]


@program
def checkpoints_that_stop_early_or_not(watch: Watch) -> Any:
    model, found = net(), []
    x = torch.randn(2, 4, requires_grad=True)
    with watch(model):
        for stops in (True, False):
            with set_checkpoint_early_stop(stops):
                y = checkpoint(model, x, use_reentrant=False)
                y.pow(2).sum().backward()
            found.append(y)
    return found, x.grad, [p.grad for p in model.parameters()]


@program
def asynchronous_generators(watch: Watch) -> Any:
    model, found = net(), []

    async def batches() -> AsyncIterator[torch.Tensor]:
        for size in (1, 2, 3):
            await asyncio.sleep(0)
            yield model(torch.ones(size, 4))

    async def main() -> None:
        async for y in batches():
            found.append(y)
        left = batches()
        found.append(await anext(left))
        await left.aclose()

    with watch(model):
        asyncio.run(main())
    return found


class Replacing(nn.Module):
    """Puts another module into its own place while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.inner: Any = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x)
        if isinstance(self.inner, nn.Linear):
            self.inner = nn.Sequential(self.inner, nn.ReLU())
        else:
            self.inner = self.inner[0]
        made: torch.Tensor = y + self.inner(x)
        return made


@program
def modules_that_replace_their_own(watch: Watch) -> Any:
    one = Replacing()
    model = nn.Sequential(one, one)
    with watch(model):
        return step(model, torch.randn(2, 4))


@program
def a_copy_made_in_a_hook(watch: Watch) -> Any:
    model, kept = net(), []
    model[0].register_forward_hook(lambda *_: kept.append(copy.deepcopy(model)))
    x = torch.randn(2, 4)
    with watch(model):
        y = model(x)
    return y, kept[0](x), [sorted(vars(one)) for one in kept[0].modules()]


@torch.library.custom_op("shapetrace_tests::twice", mutates_args=())
def twice(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@twice.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


twice.register_autograd(lambda ctx, grad: grad * 2)


@program
def an_operation_of_the_user_s(watch: Watch) -> Any:
    model = net()
    with watch(model):
        y = twice(model(torch.randn(2, 4)))
        y.sum().backward()
    return y, [p.grad for p in model.parameters()]


class Sine(torch.autograd.Function):
    @staticmethod
    def forward(x: torch.Tensor) -> torch.Tensor:
        return x.sin()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        return grad * ctx.saved_tensors[0].cos()

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: torch.Tensor) -> Any:
        return Sine.apply(x), in_dims[0]


class UsesSine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> Any:
        return Sine.apply(self.inner(x))


@program
def an_autograd_function_with_its_own_vmap(watch: Watch) -> Any:
    model, x = UsesSine(), torch.randn(3, 4)
    with watch(model):
        return vmap(model)(x), step(model, x)


@program
def hooks_that_change_gradients(watch: Watch) -> Any:
    model, seen = net(), []

    def halved(module: nn.Module, given: Any, made: Any) -> Any:
        seen.append(made[0].clone())
        return (given[0] / 2,)

    model[0].register_full_backward_pre_hook(lambda module, made: (made[0] * 2,))
    model[2].register_full_backward_hook(halved)
    with watch(model):
        return step(model, torch.randn(2, 4, requires_grad=True)), seen


@program
def saved_tensors_packed_to_disk(watch: Watch) -> Any:
    model, paths = net(), []
    with tempfile.TemporaryDirectory() as folder:

        def pack(tensor: torch.Tensor) -> str:
            paths.append(f"{folder}/{len(paths)}")
            torch.save(tensor, paths[-1])
            return str(paths[-1])

        hooks = torch.autograd.graph.saved_tensors_hooks(pack, torch.load)
        with watch(model), hooks:
            return step(model, torch.randn(2, 4)), len(paths)


@program
def a_call_that_somebody_has_wrapped(watch: Watch) -> Any:
    model, plain = net(), nn.Module.__call__

    def around(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return plain(self, *args, **kwargs)

    nn.Module.__call__ = around  # type: ignore[method-assign]
    try:
        with watch(model):
            return step(model, torch.randn(2, 4))
    finally:
        nn.Module.__call__ = plain  # type: ignore[method-assign]
