"""A dimension that a tensor has not, and an index beyond its end, are conflicts as they
are errors of torch's."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import shapetrace
from shapetrace.signatures import conflicts, predict

CALLS = {
    "chunk": (lambda x: x.chunk(2, dim=1), (4,)),
    "split": (lambda x: x.split(2, dim=2), (4, 6)),
    "unbind": (lambda x: x.unbind(2), (4, 6)),
    "squeeze": (lambda x: x.squeeze(2), (4,)),
    "softmax": (lambda x: x.softmax(2), (4, 6)),
    "index": (lambda x: x[:, 3], (4, 2, 8)),
    "index from the end": (lambda x: x[:, -3], (4, 2, 8)),
    "select": (lambda x: x.select(1, 4), (4, 2, 8)),
    "narrow": (lambda x: x.narrow(1, 2, 3), (4, 4, 8)),
    "narrow from the end": (lambda x: x.narrow(1, -4, 2), (4, 3, 8)),
}
FITTING = {
    "chunk": (4, 6, 8),
    "index": (4, 4, 8),
    "index from the end": (4, 3, 8),
    "narrow": (4, 5, 8),
    "narrow from the end": (4, 4, 8),
}


def call_on(run, shape):
    """The call as it was recorded on a tensor of (4, 6, 8), with one of `shape`."""
    with shapetrace.trace(nn.Identity()) as t:
        run(torch.randn(4, 6, 8))
    call = t.functions[-1]
    ref = replace(call.inputs[0], shape=shape)
    return replace(call, inputs=(ref,), outputs=None)


@pytest.mark.parametrize("name", CALLS)
def test_what_torch_refuses_is_a_conflict(name):
    run, shape = CALLS[name]
    with pytest.raises((IndexError, RuntimeError)):
        run(torch.randn(*shape))
    call = call_on(run, shape)
    assert conflicts(call)
    assert predict(call, (shape,)) is None


@pytest.mark.parametrize("name", FITTING)
def test_what_torch_takes_is_none(name):
    run, shape = CALLS[name][0], FITTING[name]
    made = run(torch.randn(*shape))
    call = call_on(run, shape)
    assert conflicts(call) == ()
    first = made if isinstance(made, torch.Tensor) else made[0]
    assert predict(call, (shape,))[0] == tuple(first.shape)
