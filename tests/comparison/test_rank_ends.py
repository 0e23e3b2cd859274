"""How ranks end: who failed of itself, and who waited for others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.overrides import handle_torch_function, has_torch_function

import shapetrace
from shapetrace import Trace
from shapetrace.distributed import Rank, Ranks

GLOO = (
    "[/pytorch/third_party/gloo/gloo/transport/tcp/unbound_buffer.cc:78] "
    "Timed out waiting 5000ms for recv operation to complete"
)
INVALID = "invalid argument: tensors must be equal in size"


def of_torch(name, message):
    """A collective that raises, as it does in torch's own files."""
    code = f"""
def {name}(x):
    if has_torch_function((x,)):
        return handle_torch_function({name}, (x,), x)
    raise RuntimeError(message)
"""
    names = {
        "__name__": "torch.distributed.distributed_c10d",
        "message": message,
        "has_torch_function": has_torch_function,
        "handle_torch_function": handle_torch_function,
    }
    exec(code, names)
    return names[name]


def traced(end, x=None) -> Trace:
    net = nn.Linear(4, 3)
    t = shapetrace.trace(net)
    with pytest.raises(RuntimeError), t:
        end(net(torch.ones(2, 4) if x is None else x))
    return t


def together(*traces: Trace) -> Ranks:
    return Ranks(tuple(Rank(n, t.recording, t.findings) for n, t in enumerate(traces)))


def test_nothing_that_a_collective_was_given_is_blamed_for_a_wait():
    failure = traced(lambda y: of_torch("recv", GLOO)(torch.zeros(3))).failure
    assert failure is not None
    (only,) = failure.culprits
    assert (only.kind, only.name) == ("function", "recv")
    assert only.reason == "waited for another rank"


def test_what_a_collective_does_not_take_is_no_wait():
    t = traced(lambda y: of_torch("all_gather", INVALID)(torch.zeros(3)))
    assert t.recording.ended_in == ""
    assert t.failure is not None
    assert [one.reason for one in t.failure.culprits] != ["waited for another rank"]


class Spread(nn.Module):
    """Exchanges in its forward, as `DistributedDataParallel` does."""

    def __init__(self, message):
        super().__init__()
        self.layer, self.message = nn.Linear(4, 3), message

    def forward(self, x):
        self.layer(x)
        raise RuntimeError(self.message)


@pytest.mark.parametrize("message", [GLOO, "5000 of them"])
def test_a_forward_that_exchanges_waits_and_its_input_is_not_blamed(message):
    net = Spread(message)
    t = shapetrace.trace(net)
    with pytest.raises(RuntimeError), t:
        net(torch.ones(2, 4))
    assert t.failure is not None
    reasons = [one.reason for one in t.failure.culprits]
    if message == GLOO:
        assert reasons == ["waited for another rank in its forward"]
    else:
        assert reasons[0] == "raised RuntimeError in its forward" and len(reasons) > 1


REDUCER = """
class Reducer(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        raise RuntimeError(message)
"""


def backward(y):
    """As that under `DistributedDataParallel`: no code of the user's runs in it."""
    names: dict[str, Any] = {"torch": torch, "message": GLOO}
    names["__name__"] = "torch.nn.parallel.distributed"
    exec(REDUCER, names)
    names["Reducer"].apply(y).sum().backward()


def test_a_backward_that_exchanges_is_what_a_rank_waited_in():
    ended = traced(backward).recording.ended_in
    assert ended.startswith("backward at test_rank_ends.py:")
    assert traced(lambda y: y.backward()).recording.ended_in == ""


def test_who_failed_is_told_before_who_waited_and_alone_explained():
    failed = traced(lambda y: y, x=torch.ones(2, 5))
    ranks = together(traced(backward), failed, traced(backward))
    said = str(ranks)
    cause = said.index("rank 1 failed: ")
    waits = said.index("ranks 0 and 2 waited in backward at test_rank_ends.py:")
    assert cause < waits
    assert "rank 1 failed:\n" in said and "rank 0 failed:\n" not in said
    assert said.count("none of them can go on") == 0
    assert "<h4>rank 1</h4>" in ranks._repr_html_()
    assert "<h4>rank 0</h4>" not in ranks._repr_html_()
    assert list(ranks.failures) == [0, 1, 2]


def test_ranks_in_different_collectives_wait_for_each_other():
    first = traced(lambda y: of_torch("all_reduce", GLOO)(torch.zeros(3)))
    second = traced(lambda y: of_torch("broadcast", GLOO)(torch.zeros(3)))
    said = " ".join(str(together(first, second, second)).split())
    assert "rank 0 waited in all_reduce at " in said
    assert "ranks 1 and 2 waited in broadcast at " in said
    assert "none of them can go on: they wait in different places" in said
    assert "all ranks make the same calls" not in said
    # where none failed of itself, one of each place is explained
    assert [n for n in range(3) if f" rank {n} failed: `" in said] == [0, 1]
    for others in ((first, first), (first, traced(lambda y: y, x=torch.ones(2, 5)))):
        assert "none of them can go on" not in str(together(*others))
