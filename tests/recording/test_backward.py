"""Backward times by module, with nothing of the backward changed."""

from __future__ import annotations

import time

import pytest
import torch
from stepping import Steps
from torch import nn
from torch.utils.checkpoint import checkpoint

import shapetrace
from shapetrace.recording.clocks import PausingClock
from shapetrace.recording.extensions.backward import BackwardTimer
from shapetrace.recording.extensions.base import Extensions


def net():
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))


def test_every_call_has_the_time_of_its_own_nodes_and_those_inside():
    model = net()
    with shapetrace.trace(model, backward=True) as t:
        model(torch.randn(3, 4)).sum().backward()
    root, *children = t.calls
    assert all(call.backward_ns > 0 for call in children)
    assert root.backward_ns == sum(call.backward_ns for call in children)
    assert root.recompute_ns == 0


def test_each_node_counts_until_the_next_stamp():
    clock = PausingClock(Steps())
    timer = BackwardTimer(clock)
    extensions = Extensions([timer], clock)
    model = nn.Sequential(nn.Sigmoid(), nn.Tanh())
    handles = []
    for one in model.modules():
        handles.append(one.register_forward_pre_hook(extensions.enter))
        handles.append(
            one.register_forward_hook(lambda one, _, made: extensions.leave(one, made))
        )
    model(torch.randn(3, requires_grad=True)).sum().backward()
    extensions.finish()
    for handle in handles:
        handle.remove()
    root, first, second = extensions.cells
    assert first.fields["backward_ns"] == second.fields["backward_ns"] == 1
    assert root.fields["backward_ns"] == 2


def test_without_a_backward_the_time_is_unknown_and_not_zero():
    model = net()
    with shapetrace.trace(model, backward=True) as t:
        model(torch.randn(3, 4))
    assert [call.backward_ns for call in t.calls] == [None] * 4


def test_gradients_are_the_same_bits():
    def gradients(watched):
        torch.manual_seed(0)
        model, x = net(), torch.randn(3, 4, requires_grad=True)
        with shapetrace.trace(model, backward=watched, memory=watched):
            y = model(x)
            y[:, 0].mul_(2)  # in place, through a view
            y.square().sum().backward()
        return [x.grad, *(one.grad for one in model.parameters())]

    assert all(map(torch.equal, gradients(False), gradients(True)))


def test_no_hook_stays_on_a_graph_that_outlives_the_trace():
    model = net()
    with shapetrace.trace(model, backward=True) as t:
        loss = model(torch.randn(3, 4)).sum()
        loss.backward(retain_graph=True)
    times = [call.backward_ns for call in t.calls]
    marks = t._readout.selection.running.extensions[0]._marks
    loss.backward()
    assert marks == []
    assert [call.backward_ns for call in t.calls] == times


def test_two_backwards_add_up():
    def run(times):
        model = nn.Linear(64, 64)
        clock = Steps()
        with shapetrace.Trace([model], clock, backward=True) as t:
            loss = model(torch.randn(8, 64)).sum()
            for _ in range(times):
                loss.backward(retain_graph=True)
        return t.calls[0].backward_ns

    assert run(2) == 2 * run(1)


@pytest.mark.parametrize("reentrant", [True, False])
def test_recomputation_is_told_apart(reentrant):
    block = nn.Sequential(nn.Linear(64, 64), nn.Tanh())
    head = nn.Linear(64, 1)
    model = nn.ModuleList([block, head])
    x = torch.randn(16, 64, requires_grad=True)
    with shapetrace.trace(model, backward=True, checks=False) as t:
        y = checkpoint(block, x, use_reentrant=reentrant)
        head(y).sum().backward()
    assert any(call.recomputed for call in t.calls)
    assert sum(call.recompute_ns for call in t.calls) > 0 or reentrant
    ran = sum(call.backward_ns for call in t.calls if call.name.startswith("0"))
    assert ran > 0


def test_a_custom_function_belongs_to_the_module_that_applies_it():
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    class Layer(nn.Module):
        def forward(self, x):
            return Twice.apply(x)

    model = nn.Sequential(Layer(), nn.Identity())
    with shapetrace.trace(model, backward=True) as t:
        model(torch.randn(3, requires_grad=True)).sum().backward()
    assert t.calls[1].backward_ns > 0
    assert t.calls[2].backward_ns == 0


def test_double_backward_works():
    model, x = nn.Sequential(nn.Linear(3, 3), nn.Tanh()), torch.randn(
        2, 3, requires_grad=True
    )
    with shapetrace.trace(model, backward=True, memory=True):
        (g,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        g.square().sum().backward()
    watched = x.grad.clone()
    x.grad = None
    (g,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    g.square().sum().backward()
    assert torch.equal(watched, x.grad)


def test_backward_without_times_is_refused():
    with pytest.raises(shapetrace.errors.UsageError, match="timing=False"):
        shapetrace.trace(net(), backward=True, timing=False)


class Hooked(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        y = self.layer(x)
        y.register_hook(lambda gradient: time.sleep(0.03))
        return y


def test_a_tensors_hook_is_the_time_of_who_made_the_tensor():
    model = nn.Sequential(nn.Linear(4, 4), Hooked(), nn.Linear(4, 4))
    with shapetrace.trace(model, backward=True) as t:
        model(torch.randn(2, 4)).sum().backward()
    took = {call.name: call.backward_ns / 1e6 for call in t.calls}
    assert took["1.layer"] >= 30 and took["1"] >= 30
    assert took["2"] < 15 and took["0"] < 15


def sleeps(*_):
    time.sleep(0.03)


def backward_ms(run):
    """Of three layers in a row, called one by one."""
    layers = [nn.Linear(4, 4) for _ in range(3)]
    with shapetrace.trace(*layers, backward=True) as t:
        run(*layers)
    assert [call.type for call in t.calls] == ["Linear"] * 3
    return [call.backward_ns / 1e6 for call in t.calls]


def between(first, second, third):
    y = second(first(torch.randn(2, 4))) * 2
    y.register_hook(sleeps)
    third(y).sum().backward()


def of_the_input(first, second, third):
    x = torch.randn(2, 4, requires_grad=True)
    x.register_hook(sleeps)
    third(second(first(x))).sum().backward()


@pytest.mark.parametrize("run", [between, of_the_input])
def test_the_hook_of_a_tensor_that_no_module_made_is_no_modules_time(run):
    assert max(backward_ms(run)) < 15


def test_what_runs_between_modules_is_no_modules_time():
    class Slow(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            time.sleep(0.03)
            return g * 2

    def run(first, second, third):
        third(Slow.apply(second(first(torch.randn(2, 4))))).sum().backward()

    # a busy machine may take the processor away in one of three, and not 30 ms in each
    assert min(max(backward_ms(run)) for _ in range(3)) < 15


def before(module):
    module.register_full_backward_pre_hook(sleeps)


def after(module):
    module.register_full_backward_hook(sleeps)


@pytest.mark.parametrize("hooks", [(before,), (after,), (before, after)])
def test_the_hooks_of_a_module_are_its_own_time(hooks):
    def run(first, second, third):
        for hook in hooks:
            hook(second)
        third(second(first(torch.randn(2, 4)))).sum().backward()

    # what a busy machine adds to one of three runs is not in all of them
    took = [min(times) for times in zip(*(backward_ms(run) for _ in range(3)))]
    assert took[1] >= 30 * len(hooks) and max(took[0], took[2]) < 15


def test_a_hook_that_torch_refuses_is_the_users_error():
    with shapetrace.trace(nn.Linear(4, 4), backward=True) as t:
        with pytest.raises(RuntimeError, match="doesn't require gradient"):
            torch.ones(2).register_hook(sleeps)
    assert not any("gave up" in note for note in t.recording.notes)


def test_a_tensors_own_hooks_are_the_users_alone_after_the_trace():
    model = nn.Linear(4, 4)
    seen = []
    with shapetrace.trace(model, backward=True):
        y = model(torch.randn(2, 4))
        y.register_hook(seen.append)
        handle = y.register_hook(lambda gradient: gradient * 2)
        y.sum().backward(retain_graph=True)
    assert len(y._backward_hooks) == 2 and len(seen) == 1
    assert torch.equal(model.bias.grad, torch.full((4,), 4.0))
    handle.remove()
    y.sum().backward()
    assert torch.equal(model.bias.grad, torch.full((4,), 6.0)) and len(seen) == 2
