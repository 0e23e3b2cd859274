"""One row for each call of a module, under the call that made it."""

from __future__ import annotations

import functools
import threading
from typing import Any

import pytest
import torch
from invariants import check_invariants
from models import Calls
from torch import nn

import shapetrace
from shapetrace import Trace
from shapetrace.recording.table import Table


def traced(model: nn.Module, *args: Any, **options: Any) -> Trace:
    with shapetrace.trace(model, **options) as t:
        model(*args)
    check_invariants(t.recording)
    return t


def tree(t: Trace) -> list[tuple[str, str | None]]:
    """Name of each call, and name of its parent."""
    names = [call.name for call in t.calls]
    return [
        (call.name, None if call.parent is None else names[call.parent])
        for call in t.calls
    ]


def test_a_module_that_returns_none_has_not_failed():
    model = Calls(lambda self, x: self.inner(x), inner=Calls(lambda self, x: None))
    t = traced(model, torch.ones(2))
    assert [(call.outputs, call.error) for call in t.calls] == [((), None)] * 2


def test_a_module_that_returns_none_while_an_exception_is_handled_has_not_failed():
    model = Calls(lambda self, x: None)
    with shapetrace.trace(model) as t:
        try:
            raise ValueError("the user's own")
        except ValueError:
            model(torch.ones(2))
    assert (t.calls[0].outputs, t.calls[0].error) == ((), None)


def test_a_shared_module_is_one_row_a_call_under_its_real_parent():
    shared = nn.Linear(2, 2)
    first = Calls(lambda self, x: self.fc(x), fc=shared)
    second = Calls(lambda self, x: self.fc(x), fc=shared)
    model = Calls(lambda self, x: self.b(self.a(x)), a=first, b=second)
    t = traced(model, torch.ones(1, 2))
    assert tree(t) == [
        ("", None),
        ("a", ""),
        ("a.fc", "a"),
        ("b", ""),
        ("a.fc", "b"),
    ]


def test_a_recursive_module_nests_in_itself():
    def run(self: Any, x: torch.Tensor, depth: int) -> torch.Tensor:
        return self(self.fc(x), depth - 1) if depth else x

    model = Calls(run, fc=nn.Linear(2, 2))
    t = traced(model, torch.ones(1, 2), 3)
    assert [call.depth for call in t.calls if call.name == ""] == [0, 1, 2, 3]
    assert [call.depth for call in t.calls if call.name == "fc"] == [1, 2, 3]


def test_thousands_of_calls_are_thousands_of_rows():
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        for _ in range(3000):
            x = self.fc(x)
        return x

    t = traced(Calls(run, fc=nn.Linear(2, 2)), torch.ones(1, 2))
    assert len(t.calls) == 3001
    assert {call.parent for call in t.calls[1:]} == {0}


def test_calls_of_several_threads_do_not_become_each_others_parents():
    inside = threading.Barrier(3)

    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        inside.wait(10)  # all three are in the middle of their forward
        x = self.fc(x)
        inside.wait(10)
        return x

    model = Calls(run, fc=nn.Linear(2, 2))
    with shapetrace.trace(model) as t:
        threads = [
            threading.Thread(target=model, args=(torch.ones(n, 2),)) for n in (1, 2)
        ]
        for thread in threads:
            thread.start()
        model(torch.ones(3, 2))
        for thread in threads:
            thread.join()
    check_invariants(t.recording)
    roots = [call for call in t.calls if call.parent is None]
    assert [call.name for call in roots] == [""] * 3
    for call in t.calls:
        if call.parent is not None:
            parent = t.calls[call.parent]
            assert call.thread == parent.thread
            assert call.inputs[0].shape == parent.inputs[0].shape
    assert len({call.thread for call in roots}) == 3


def test_a_traced_module_called_by_an_untraced_one_is_a_root():
    inner = nn.Sequential(nn.Linear(2, 2))
    outer = nn.Sequential(nn.Linear(2, 2), inner)
    with shapetrace.trace(inner) as t:
        outer(torch.ones(1, 2))
    assert tree(t) == [("", None), ("0", "")]


def test_without_modules_every_module_that_is_called_is_traced():
    model, loss = nn.Sequential(nn.Linear(2, 2)), nn.MSELoss()
    with shapetrace.trace() as t:
        loss(input=model(torch.ones(1, 2)), target=torch.ones(1, 2))
        model(torch.ones(1, 2))
    check_invariants(t.recording)
    assert tree(t) == [
        ("Sequential", None),
        ("Sequential.0", "Sequential"),
        ("MSELoss", None),
        ("Sequential", None),
        ("Sequential.0", "Sequential"),
    ]
    assert [ref.path for ref in t.calls[2].inputs] == [
        "kwargs['input']",
        "kwargs['target']",
    ]


def test_several_modules_are_named_by_their_classes():
    a, b, c = nn.Linear(2, 2), nn.Linear(2, 2), nn.Sequential(nn.ReLU())
    with shapetrace.trace(a, b, c) as t:
        c(b(a(torch.ones(1, 2))))
    assert [call.name for call in t.calls] == [
        "Linear",
        "Linear_2",
        "Sequential",
        "Sequential.0",
    ]


class Odd:
    """Something that may not even be asked what it is."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError("no asking")


def test_a_value_that_may_not_be_asked_is_told_by_its_type():
    model = Calls(lambda self, x: Odd())
    with shapetrace.trace(model) as t:
        assert type(model(torch.ones(2))) is Odd
    assert t.calls[0].name == "" and t.recording.notes == ()


def test_a_fault_of_ours_ends_no_batch_and_is_told(monkeypatch):
    def broken(*args: Any) -> Any:
        raise RuntimeError("no asking")

    monkeypatch.setattr("shapetrace.recording.hooks.freeze", broken)
    model = Calls(lambda self, x: Odd())
    with pytest.warns(shapetrace.ShapeTraceWarning, match="no asking"):
        with shapetrace.trace(model) as t:
            assert type(model(torch.ones(2))) is Odd
    assert t.calls[0].name == ""
    assert any("could not be recorded" in note for note in t.recording.notes)


def halving(forward: Any) -> Any:
    """A decorator of the user's, as transformers' are."""

    @functools.wraps(forward)
    def halved(self: nn.Module, x: torch.Tensor) -> Any:
        return forward(self, torch.div(x, 2))

    return halved


class Decorated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    @halving
    @halving
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.neg(self.layer(x))


@pytest.mark.parametrize("functions", [True, False])
def test_what_a_decorated_forward_calls_stands_on_its_own_line(functions):
    t = traced(Decorated(), torch.ones(1, 2), functions=functions)
    assert tree(t) == [("", None), ("layer", "")]
    layer = t.calls[1].source
    assert layer.function == "Decorated.forward"
    if functions:
        places = [(call.name, call.source.function) for call in t.functions]
        assert places == [
            *[("div", "halving.<locals>.halved")] * 2,
            ("linear", "Decorated.forward"),
            ("neg", "Decorated.forward"),
        ]
        assert {call.parent for call in t.functions} == {0, 1}


def test_the_frame_of_a_decorated_forward_is_told_as_quickly_as_any():
    model = Decorated()
    site = Table(print).enter("", model)
    forward = Decorated.forward.__wrapped__.__wrapped__
    assert site.code is forward.__code__ and not site.internal
    forward.__wrapped__ = Decorated.forward  # a circle
    assert Table(print).enter("", model).code is not None


def test_a_forward_below_torchs_own_decorator_is_looked_at_each_time():
    model = Decorated()
    model.forward = torch.compile(model.forward, backend="eager")
    site = Table(print).enter("", model)
    assert site.code is model.forward.__code__ and site.internal
    t = traced(model, torch.ones(1, 2))
    assert any("compiled" in note for note in t.recording.notes)
