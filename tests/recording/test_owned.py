"""Tensors that modules own are referred to by way of the module, and are not kept."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from construct_exchange import exchanging
from torch import nn

import shapetrace

WAYS = [{}, {"functions": False}, {"memory": True, "backward": True}, {"max_calls": 2}]


def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))


@pytest.mark.parametrize("options", WAYS)
def test_nobody_refers_weakly_to_a_module_s_tensors(options):
    net, x = model(), torch.ones(2, 4)
    own = [*net.parameters(), *net.buffers()]
    with shapetrace.trace(net, **options) as t:
        net(x).sum().backward()
        assert len(t.calls) and not any(map(weakref.getweakrefs, own))
    assert str(t) and not any(map(weakref.getweakrefs, own))
    shapes = [ref.shape for ref in t.recording.modules["1"].parameters]
    assert shapes == [(3,), (3,)]


@pytest.mark.parametrize("options", WAYS)
def test_a_parameter_that_is_replaced_or_whose_module_is_gone_is_freed(options):
    net = model()
    with shapetrace.trace(net, **options) as t:
        net(torch.ones(2, 4))
        old = weakref.ref(net[0].weight)
        net[0].weight = nn.Parameter(torch.zeros(3, 4))
        assert old() is None
        norm, running = weakref.ref(net[1]), weakref.ref(net[1].running_mean)
        del net[1]
        assert (norm(), running()) == (None, None)
        net(torch.ones(2, 4))
        alone = weakref.ref(net[0].bias)
        del net
        assert alone() is None
    assert [call.name for call in t.calls][-2:] == ["", "0"]


def test_a_module_that_its_own_parameter_refers_to_is_freed():
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    net[0].weight.home = net[0]
    gone = weakref.ref(net[0].weight)
    with shapetrace.trace(net):
        net(torch.ones(2, 4))
        del net[0]
        gc.collect()
        assert gone() is None


def test_what_was_exchanged_is_seen_as_it_is_then():
    net = model()
    with exchanging(), shapetrace.trace(net) as t:
        net(torch.ones(2, 4))
        net.to(torch.float64)
        y = net(torch.ones(2, 4).double())
    before, after = (f for f in t.functions if f.name == "linear")
    assert [ref.dtype for ref in before.inputs] == 3 * [torch.float32]
    assert [ref.dtype for ref in after.inputs] == 3 * [torch.float64]
    told = {t.recording.origins[ref.id].name for ref in after.inputs[1:]}
    assert told == {"0.weight", "0.bias"}
    assert not any(f.name in ("to", "_make_subclass") for f in t.functions)
    assert "0.weight" in str(t.lineage(net[0].weight)) or t.explain(y) is not None


def test_an_activation_is_not_exchanged_and_what_to_do_is_told():
    net = model()
    with pytest.raises(RuntimeError, match="weakref") as raised:
        with shapetrace.trace(net), torch.no_grad():
            a = net(torch.ones(2, 4))
            torch.utils.swap_tensors(a, a * 2)
    assert "exchanges no tensor" in "".join(raised.value.__notes__)
