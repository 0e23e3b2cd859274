"""Memory is watched without a change to what autograd does."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import shapetrace


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


def test_of_fake_tensors_it_is_the_same_and_under_a_mode_that_listens_unknown():
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    with FakeTensorMode():
        fake = nn.Sequential(nn.Linear(4, 3), nn.Sigmoid()), torch.randn(5, 4)
        found, _ = saved(*fake)
    assert found == {"": 5 * 4 * 4 + 5 * 3 * 4, "0": 5 * 4 * 4, "1": 5 * 3 * 4}
    with FlopCounterMode(display=False):  # it would see what autograd is asked
        found, _ = saved(nn.Sequential(nn.Linear(4, 3), nn.Sigmoid()), torch.ones(5, 4))
    assert found == {"": None, "0": None, "1": None}


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
    sizes = [sample.activations for sample in t.recording.live]
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
    peak = max(t.recording.live, key=lambda sample: sample.activations)
    assert t.calls[peak.call].name == "1"
    assert "in model.1;" in t.summary(80)


def test_inputs_parameters_and_their_views_are_no_activations():
    model, x = nn.Flatten(), torch.randn(8, 4, 2)
    with shapetrace.trace(model, memory=True) as t:
        model(x)
    assert t.recording.live == ()


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
    with pytest.warns(shapetrace.ShapeTraceWarning, match="cost MemoryWatch"):
        with shapetrace.trace(model, memory=True) as t:
            t._readout.selection.running.extensions[0]._watched = None
            assert model(torch.randn(2, 4)).shape == (2, 3)
    assert any("gave up" in note for note in t.recording.notes)


def most(t, kind):
    return max(getattr(sample, kind) for sample in t.recording.live)


def test_what_autograd_keeps_is_alive_though_no_function_returned_it():
    model, x = nn.LSTM(4, 8), torch.randn(5, 3, 4)
    with shapetrace.trace(model, memory=True) as t:
        output = model(x)
    kept = t.calls[0].saved_bytes - x.nbytes  # which was there before
    assert kept > output[0].nbytes
    assert most(t, "activations") >= kept


def test_cross_entropy_holds_the_logits_and_their_log_softmax():
    scores = torch.randn(16, 500, requires_grad=True)
    with shapetrace.trace(nn.Identity(), memory=True, checks=False) as t:
        logits = scores.clone()
        loss = F.cross_entropy(logits, torch.zeros(16, dtype=torch.long))
    target, single, total_weight = 16 * 8, loss.nbytes, 4
    assert most(t, "activations") == 2 * scores.nbytes + target + single + total_weight


def test_an_operation_in_the_backward_holds_what_it_takes_and_what_it_makes():
    """log_softmax, the gradient that comes to it and the one that it makes: as many
    bytes as torch.profiler sees allocated at once."""
    layer, logits = nn.Linear(16, 1000, bias=False), 256 * 1000 * 4
    x, target = torch.randn(256, 16), torch.zeros(256, dtype=torch.long)
    with shapetrace.trace(layer, memory=True) as t:
        F.cross_entropy(layer(x), target).backward()
    most = max(sample.activations + sample.backward for sample in t.recording.live)
    assert 3 * logits <= most <= 3 * logits + 1000


@pytest.mark.parametrize("to_none", [True, False])
def test_gradients_from_before_are_gradients_and_no_activations(to_none):
    model = nn.Linear(10, 10)
    optimizer = torch.optim.SGD(model.parameters(), foreach=True)
    model(torch.randn(2, 10)).sum().backward()
    with shapetrace.trace(model, memory=True) as t:
        model.weight.grad.clone()
        optimizer.zero_grad(set_to_none=to_none)
    assert most(t, "gradients") == 440
    assert most(t, "activations") == 400  # the clone
    last = t.recording.live[-1]
    assert (last.activations, last.gradients) == (0, 0 if to_none else 440)


def test_a_training_step_ends_with_gradients_and_twice_as_much_state():
    model = nn.Sequential(nn.Linear(10, 10, bias=False), nn.Linear(10, 1, bias=False))
    optimizer = torch.optim.AdamW(model.parameters())
    with shapetrace.trace(model, memory=True) as t:
        model(torch.randn(2, 10)).sum().backward()
        optimizer.step()
    last = t.recording.live[-1]
    assert (last.activations, last.backward, last.gradients) == (0, 0, 440)
    assert last.optimizer == 2 * 440 + 2 * 4  # and the number of steps of each
    assert t.recording.gradients == {"0.weight": 400, "1.weight": 40}
    assert t.recording.optimizer_state == {"0.weight": 804, "1.weight": 84}


def test_gradients_on_their_way_are_held_in_the_backward():
    model = nn.Sequential(nn.Sigmoid(), nn.Tanh())
    x = torch.randn(100, requires_grad=True)
    with shapetrace.trace(model, memory=True) as t:
        model(x).sum().backward()
    assert most(t, "backward") >= 400
    assert t.recording.live[-1].gradients == 400  # that of x


def test_gradients_that_wait_for_others_are_held_and_nothing_once_it_is_over():
    """That of the sine waits while that of the cosine is made: both, which go to the
    parameter alone, and what both saved; afterwards the parameter's gradient."""
    size = 1000 * 4
    weight = nn.Parameter(torch.ones(1000))
    with shapetrace.trace(nn.Identity(), memory=True) as t:
        hidden = weight.clone()
        loss = hidden.sin().sum() + hidden.cos().sum()
        del hidden
        loss.backward()
    whole = [(one.activations, one.backward, one.gradients) for one in t.recording.live]
    scalar = 4  # the loss, and the gradient of one with which a backward begins
    assert max(map(sum, whole)) == 3 * size + 2 * scalar
    assert (size + scalar, scalar, 2 * size) in whole
    assert whole[-1] == (scalar, 0, size)


def test_complex_parameters_have_gradients_and_state_of_their_size():
    """An optimizer looks at them, and at their gradients, as real numbers, under
    `no_grad`: views of which torch refuses to say who made them."""
    model = nn.Linear(5, 2, bias=False, dtype=torch.cfloat)
    optimizer = torch.optim.AdamW(model.parameters())
    with shapetrace.trace(model, memory=True, backward=True) as t:
        model(torch.ones(1, 5, dtype=torch.cfloat)).abs().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert not t.recording.notes
    assert max(one.gradients for one in t.recording.live) == 10 * 8
    last = t.recording.live[-1]
    assert (last.gradients, last.optimizer) == (0, 2 * 80 + 4)
    assert t.recording.optimizer_state == {"weight": 2 * 80 + 4}


def test_what_is_alive_at_the_peak_is_told_by_call():
    class Wide(nn.Module):
        def forward(self, x):
            return x.repeat(1, 100).mul(2).sum(1, keepdim=True)

    model = nn.Sequential(nn.Linear(4, 4), Wide())
    with torch.no_grad(), shapetrace.trace(model, memory=True) as t:
        model(torch.randn(8, 4))
    wide = 8 * 400 * 4
    assert [call.peak_bytes for call in t.calls] == [2 * wide + 128, 128, 2 * wide]


def test_exclusive_is_what_only_the_call_saved_and_did_not_pass_on():
    block = nn.Sequential(nn.Linear(10, 10), nn.Sigmoid(), nn.Linear(10, 10))
    model = nn.Sequential(nn.Sigmoid(), block, nn.Sigmoid())
    with shapetrace.trace(model, memory=True) as t:
        model(torch.randn(5, 10, requires_grad=True)).sum().backward()
    saved = {call.name: call.saved_bytes for call in t.calls}
    exclusive = {call.name: call.exclusive_bytes for call in t.calls}
    # its input, and what its sigmoid gave to itself and to the next layer
    assert saved["1"] == 2 * 200
    assert exclusive["1"] == 200


def test_a_fault_of_ours_in_the_backward_leaves_the_backward_alone():
    model = nn.Linear(4, 3)
    with pytest.warns(shapetrace.ShapeTraceWarning, match="cost MemoryWatch"):
        with shapetrace.trace(model, memory=True) as t:
            loss = model(torch.randn(2, 4)).sum()
            t._readout.selection.running.extensions[0]._watched = None
            loss.backward()
    assert model.weight.grad is not None
    assert any("gave up" in note for note in t.recording.notes)


def test_no_hook_is_left_on_leaves():
    model = nn.Linear(4, 3)
    y = model(torch.randn(2, 4))
    leaf = y.grad_fn.next_functions[0][0]
    with shapetrace.trace(model, memory=True):
        model(torch.randn(2, 4)).sum().backward()
    handle = leaf.register_hook(lambda *_: None)
    assert len(handle.hooks_dict_ref()) == 1
    handle.remove()


def test_an_optimizers_step_hook_may_end_the_trace():
    model = nn.Linear(4, 3)
    optimizer = torch.optim.AdamW(model.parameters())
    t = shapetrace.trace(model, memory=True)
    optimizer.register_step_post_hook(lambda *_: t.__exit__(None, None, None))
    with t:
        model(torch.randn(2, 4)).sum().backward()
        optimizer.step()
    assert most(t, "optimizer") >= 2 * 60


def test_what_checkpointing_makes_again_in_the_backward_is_held_too():
    """While the gradient goes through the second sigmoid both are kept, and two
    gradients of their size are on their way."""
    hidden = 2048 * 256 * 4
    layers = nn.Linear(64, 256), nn.Sigmoid(), nn.Linear(256, 256), nn.Sigmoid()
    model = nn.Sequential(*layers, nn.Linear(256, 4))
    with shapetrace.trace(model, memory=True) as t:
        x = torch.ones(2048, 64)
        checkpoint(model, x, use_reentrant=False).sum().backward()
    # the input, made in the block, and the loss
    held = t.memory()
    assert held.activations == 2 * hidden + 2048 * 64 * 4 + 4
    assert held.backward == 2 * hidden + 4
