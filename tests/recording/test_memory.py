"""Memory is watched without a change to what autograd does."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import shapetrace
from shapetrace.recording.extensions.base import Companion
from shapetrace.recording.extensions.memory import AllocatorWatch


def saved(model, x):
    with shapetrace.trace(model, memory=True, checks=False) as t:
        loss = model(x).sum()
    return {call.name: call.saved_bytes for call in t.calls}, loss


def test_saved_bytes_are_those_of_the_tensors_a_layer_needs_again():
    model, x = nn.Sequential(nn.Linear(4, 3), nn.Sigmoid()), torch.randn(5, 4)
    found, loss = saved(model, x)
    # the linear layer needs its input, the activation its output; no parameter counts
    assert found == {"": 5 * 4 * 4 + 5 * 3 * 4, "0": 5 * 4 * 4, "1": 5 * 3 * 4}
    assert loss.requires_grad


def test_a_storage_saved_twice_counts_once_in_the_parent():
    model = nn.Sequential(nn.Sigmoid(), nn.Tanh(), nn.Sigmoid())
    x = torch.randn(8, requires_grad=True)
    found, loss = saved(nn.Sequential(nn.Sigmoid(), nn.Linear(8, 2)), x)
    assert found == {"": 32, "0": 32, "1": 32}
    found, _ = saved(model, x)
    assert found[""] == 96 and loss.requires_grad


def test_a_custom_function_is_asked_too():
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            return 2 * ctx.saved_tensors[0] * g

    class Layer(nn.Module):
        def forward(self, x):
            return Square.apply(x)

    found, loss = saved(Layer(), torch.randn(6, requires_grad=True))
    assert found == {"": 24}
    loss.backward()


def test_without_autograd_nothing_is_saved():
    model = nn.Linear(4, 3)
    with torch.no_grad(), shapetrace.trace(model, memory=True) as t:
        model(torch.randn(5, 4))
    assert t.calls[0].saved_bytes == 0


def test_under_saved_tensor_hooks_the_bytes_are_unknown_and_nothing_is_unpacked():
    unpacked = []

    def unpack(tensor):
        unpacked.append(tensor)
        return tensor

    model = nn.Sequential(nn.Linear(4, 4), nn.Sigmoid())
    with shapetrace.trace(model, memory=True) as t:
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, unpack):
            model(torch.randn(2, 4))
    assert [call.saved_bytes for call in t.calls] == [None, None, None]
    assert not unpacked


def test_a_saved_tensor_changed_in_place_is_still_noticed():
    model = nn.Sigmoid()
    with shapetrace.trace(model, memory=True, backward=True, checks=False):
        y = model(torch.randn(3, requires_grad=True))
        y.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


def test_tensors_die_when_they_would_have_died():
    died = []
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    with shapetrace.trace(model, memory=True, backward=True):
        y = model(torch.randn(2, 4))
        weakref.finalize(y.untyped_storage(), died.append, True)
        del y
        gc.collect()
        assert died


def test_live_bytes_rise_with_the_forward_and_fall_with_the_backward():
    model = nn.Sequential(nn.Linear(4, 4), nn.Sigmoid(), nn.Linear(4, 4), nn.Sigmoid())
    x = torch.randn(8, 4)
    with shapetrace.trace(model, memory=True) as t:
        loss = model(x).sum()
        loss.backward()
        del loss
    sizes = [sample.bytes for sample in t.recording.live]
    # two saved outputs, and what the second linear layer gave, which goes then
    assert max(sizes) == 3 * 128
    assert sizes[0] == 128 and sizes[-1] == 0


def test_the_peak_names_the_call_that_ran_then():
    class Wide(nn.Module):
        def forward(self, x):
            return (x.repeat(1, 100) * 2).sum(1, keepdim=True)

    model = nn.Sequential(nn.Linear(4, 4), Wide(), nn.Linear(1, 1))
    with torch.no_grad(), shapetrace.trace(model, memory=True) as t:
        model(torch.randn(8, 4))
    peak = max(t.recording.live, key=lambda sample: sample.bytes)
    assert t.calls[peak.call].name == "1"
    assert "in 1." in t.summary(80)


def test_inputs_parameters_and_their_views_are_no_activations():
    model, x = nn.Flatten(), torch.randn(8, 4, 2)
    with shapetrace.trace(model, memory=True) as t:
        model(x)
    assert t.recording.live == ()


def test_an_allocators_growth_is_told_by_call_and_its_peak_by_batch():
    class Fake:
        held, most = 100, 150

        def allocated(self):
            return self.held

        def peak(self):
            return self.most

    allocator = Fake()
    watch = AllocatorWatch(allocator)
    companion = Companion([watch])
    model = nn.Identity()
    before, after = companion.hooks(model)
    before(model, (), {})
    allocator.held, allocator.most = 130, 190
    after(model, (), {}, None)
    companion.finish()
    assert companion.cells[0].fields == {"allocated_bytes": 30}
    assert watch.highest == 190


def test_a_peak_from_before_the_batch_is_not_claimed():
    class Fake:
        def allocated(self):
            return 0

        def peak(self):
            return 500

    watch = AllocatorWatch(Fake())
    watch.finish([])
    assert watch.highest is None


def test_checkpointed_gradients_are_the_same_bits_with_memory_and_backward():
    def gradients(**options):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5), nn.Linear(6, 6))
        x = torch.randn(4, 6, requires_grad=True)
        with shapetrace.trace(model, checks=False, **options):
            checkpoint(model, x, use_reentrant=False).sum().backward()
        return [x.grad, *(one.grad for one in model.parameters())]

    plain, watched = gradients(), gradients(memory=True, backward=True)
    assert all(map(torch.equal, plain, watched))


def test_arguments_of_any_kind_harm_neither_the_batch_nor_the_figures():
    class Odd:
        def __bool__(self):
            raise ValueError("no truth value")

    class Layer(nn.Module):
        def forward(self, x, odd, table):
            return x.sigmoid()

    with shapetrace.trace(model := Layer(), memory=True) as t:
        y = model(torch.randn(3, requires_grad=True), Odd(), {"a": [Odd()]})
    assert t.calls[0].saved_bytes == 12 and y.shape == (3,)


def test_an_extension_that_fails_leaves_the_batch_alone_and_is_reported():
    model = nn.Linear(4, 3)
    with shapetrace.trace(model, memory=True) as t:
        t._extras.companion.extensions[0]._own = None
        assert model(torch.randn(2, 4)).shape == (2, 3)
    assert any("gave up" in note for note in t.recording.notes)
