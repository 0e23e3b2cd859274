"""What torch's functions do not show is named: kernels that are none of torch's, other
threads, scripted functions, registered operations."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import shapetrace

X = torch.ones(4, 8)
SCALE = torch.ones(8)


class Net(nn.Module):
    """Multiplies what `work` makes of its layer's output."""

    def __init__(self, work):
        super().__init__()
        self.layer = nn.Linear(8, 8, bias=False)
        self.work = work
        self.scale = torch.ones(8)

    def forward(self, x):
        return self.work(self.layer(x), self.layer.weight) * self.scale


def costs(work, model=None):
    model = model or Net(work)
    with shapetrace.trace(model, checks=False) as t, torch.no_grad():
        model(X)
    return t.costs


def named(found):
    """Without the threads themselves, which are told where they worked long enough."""
    return set(found.uncounted) - {"threads that ended"}


def product(a, b):
    return a @ b


def scripted(a, b):
    return torch.jit.script(product)(a, b)


def threaded(a, b):
    made = []

    def run():
        with torch.no_grad():
            made.append(a @ b)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return made[0]


def pooled(a, b):
    with ThreadPoolExecutor(2) as pool:
        return sum(pool.map(torch.matmul, a.detach(), [b.detach()] * 4))


def with_numpy(a, b):
    return torch.from_numpy(a.numpy() @ b.numpy())


@pytest.mark.filterwarnings("ignore:`torch.jit.script`")
@pytest.mark.parametrize("work", [scripted, threaded, pooled, with_numpy])
def test_a_tensor_that_nobody_was_seen_to_make_is_named(work):
    found = costs(work)
    assert found.flops == 2 * 4 * 8 * 8  # the layer's
    taken = "add" if work is pooled else "mul"
    assert not found.complete and named(found) == {f"unseen input of {taken}"}
    assert set(found.calls[0].uncounted) == named(found)
    assert not found.calls[1].uncounted


def test_layers_that_a_pool_calls_are_named():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.branches = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))
            self.head = nn.Linear(8, 8, bias=False)

        def forward(self, x):
            with ThreadPoolExecutor(2) as pool:
                return self.head(sum(pool.map(lambda one: one(x), self.branches)))

    found = costs(None, Branches())
    assert found.flops == 2 * 4 * 8 * 8  # the head's
    assert not found.complete and named(found) == {"Linear"}
    assert [call.uncounted for call in found.calls] == [("Linear",)] * 3 + [()]


@pytest.mark.parametrize(
    "work",
    [
        lambda a, b: a @ b,
        lambda a, b: a * SCALE,
        lambda a, b: torch.stack([row + 1 for row in a]),
        lambda a, b: torch.tensor([1.0]) + a,
        lambda a, b: a + torch.zeros(8).to(a),
        lambda a, b: a[torch.empty(0, dtype=torch.long)].sum(),
    ],
)
def test_attributes_constants_and_rows_are_no_work(work):
    def made_and_gone():
        local = torch.ones(8)  # gone when the costs are asked for, not at the end
        with shapetrace.trace(model := Net(work), checks=False) as t, torch.no_grad():
            model(X * local)
        return t.costs

    assert made_and_gone().complete


def test_an_input_by_name_is_not_made_in_the_forward():
    class Masked(nn.Module):
        def forward(self, x, *, batch):
            return x * batch["mask"]

    model = Masked()
    with shapetrace.trace(model, checks=False) as t:
        model(X, batch={"mask": torch.ones(4, 8)})
    assert t.costs.complete


def test_torchs_operations_called_as_such_are_counted():
    for product in (torch.ops.aten.mm, torch.ops.aten.mm.default):
        found = costs(product)
        assert found.complete and found.flops == 2 * (2 * 4 * 8 * 8)


@pytest.fixture
def prod():
    library = torch.library.Library("shapetrace_test", "DEF")
    library.define("prod(Tensor a, Tensor b) -> Tensor")
    library.impl("prod", lambda a, b: a @ b, "CPU")
    yield torch.ops.shapetrace_test.prod
    library._destroy()


def test_a_registered_operation_is_not_taken_for_torchs_of_that_name(prod):
    found = costs(lambda a, b: prod(a, b))
    assert not found.complete and found.uncounted == ("prod",)


def test_a_kernel_in_triton_is_named_in_the_call_that_launches_it():
    knobs = pytest.importorskip("triton.knobs")
    launch = SimpleNamespace(data={"name": "add_kernel"})
    hooks = list(knobs.runtime.launch_enter_hook.calls)

    def work(a, b):
        made = torch.empty_like(a)
        knobs.runtime.launch_enter_hook(launch)  # what Triton does at a launch
        return made

    found = costs(work)
    assert found.uncounted == ("Triton kernel add_kernel",) and not found.complete
    assert found.calls[0].uncounted == found.uncounted and not found.calls[1].uncounted
    assert knobs.runtime.launch_enter_hook.calls == hooks


def test_a_kernel_inside_a_torch_function_is_that_function(prod):
    knobs = pytest.importorskip("triton.knobs")
    launch = SimpleNamespace(data={"name": "add_kernel"})

    class Launching(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            knobs.runtime.launch_enter_hook(launch)
            return super().__torch_function__(func, types, args, kwargs or {})

    model = nn.ReLU()
    with shapetrace.trace(model, checks=False) as t:
        model(X.as_subclass(Launching))
    assert t.costs.complete


def test_a_launch_without_a_name_does_not_end_the_batch():
    knobs = pytest.importorskip("triton.knobs")

    def work(a, b):
        knobs.runtime.launch_enter_hook(None)
        return a

    model = Net(work)
    with pytest.warns(shapetrace.ShapeTraceWarning, match="some calls"):
        with shapetrace.trace(model) as t, torch.no_grad():
            model(X)
    assert len(t.calls) == 2
