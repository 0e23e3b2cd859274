"""What is recorded when the batch fails, and what becomes of the exception."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from invariants import check_invariants
from models import Calls
from torch import nn

import shapetrace
from shapetrace import Trace

HERE = Path(__file__)


def raising(error: BaseException) -> Callable[..., Any]:
    def run(self: nn.Module, x: torch.Tensor) -> torch.Tensor:
        x = x + 1
        raise error

    return run


def nested(inner: nn.Module) -> nn.Module:
    """`inner` two modules deep, with a layer before it that works."""
    middle = nn.Sequential(nn.Linear(4, 4), inner)
    return Calls(lambda self, x: self.middle(x), middle=middle)


def rows(t: Trace) -> list[tuple[str, str | None, bool]]:
    """Name, name of the parent, whether it failed."""
    check_invariants(t.recording)
    names = [call.name for call in t.calls]
    for call in t.calls:
        assert (call.outputs is None) == (call.error is not None)
    return [
        (
            call.name,
            None if call.parent is None else names[call.parent],
            call.error is not None,
        )
        for call in t.calls
    ]


FAILED = [
    ("", None, True),
    ("middle", "", True),
    ("middle.0", "middle", False),
    ("middle.1", "middle", True),
]
X = torch.ones(2, 4)

ERRORS = [
    ValueError("a", 1),
    StopIteration("stop"),
    KeyError("missing"),
    KeyboardInterrupt(),
    SystemExit(3),
    GeneratorExit(),
]


@pytest.mark.parametrize("functions", [True, False])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_the_very_exception_leaves_and_the_calls_up_to_it_are_held(error, functions):
    args = error.args
    model = nested(Calls(raising(error)))
    with pytest.raises(type(error)) as caught:
        with shapetrace.trace(model, functions=functions) as t:
            model(X)
    assert caught.value is error
    assert error.args == args
    assert rows(t) == FAILED
    failed = [call.error for call in t.calls if call.error]
    assert {(e.type, e.message) for e in failed} == {(type(error).__name__, str(error))}
    assert len({e.id for e in failed}) == 1


def test_a_failing_torch_function_is_held_with_its_inputs_and_its_place():
    model = nested(nn.Linear(5, 3))
    with pytest.raises(RuntimeError) as caught:
        with shapetrace.trace(model) as t:
            model(X)
    assert rows(t) == FAILED
    function = t.functions[-1]
    assert function.name == "linear"
    assert [ref.shape for ref in function.inputs] == [(2, 4), (3, 5), (3,)]
    assert function.outputs is None
    assert (function.error.type, function.error.message) == (
        "RuntimeError",
        caught.value.args[0],
    )
    assert function.error.id == t.calls[-1].error.id
    assert t.calls[-1].source.file == str(HERE)


@pytest.mark.parametrize("functions", [True, False])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_calls_after_an_exception_that_was_caught_outside_have_their_right_parents(
    error, functions
):
    model = nested(Calls(raising(error)))
    layer = model.middle[0]
    with shapetrace.trace(model, functions=functions, checks=False) as t:
        try:
            model(X)
        except type(error):
            pass
        y = layer(X)  # first another module than the root
        y.relu()
        layer(y)
        with pytest.raises(type(error)):
            model(X)
    ok = ("middle.0", None, False)
    assert rows(t) == [*FAILED, ok, ok, *FAILED]
    between = [f for f in t.functions if f.name == "relu"]
    assert [f.parent for f in between] == [None] * functions


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_functions_after_an_exception_that_was_caught_outside_are_in_no_module(error):
    model = nested(Calls(raising(error)))
    with shapetrace.trace(model, checks=False) as t:
        try:
            model(X)
        except type(error):
            pass
        nn.functional.relu(X)
        X.sigmoid()
    assert rows(t) == FAILED
    parents = {f.name: f.parent for f in t.functions}
    assert (parents["relu"], parents["sigmoid"]) == (None, None)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_forward_that_catches_and_goes_on_is_the_parent_of_what_follows(error):
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        try:
            self.bad(x)
        except type(error):
            pass
        x = x.tanh()
        return self.good(x).sigmoid()

    class Bad(Calls):
        """Told from the module that catches by the code of its forward."""

        def forward(self, *args: Any) -> Any:
            return self.run(self, *args)

    bad = nn.Sequential(nn.Linear(4, 4), Bad(raising(error)))
    model = Calls(run, bad=bad, good=nn.Linear(4, 4))
    with shapetrace.trace(model) as t:
        model(X)
        model.good(X)
    assert rows(t) == [
        ("", None, False),
        ("bad", "", True),
        ("bad.0", "bad", False),
        ("bad.1", "bad", True),
        ("good", "", False),
        ("good", None, False),
    ]
    parents = {f.name: f.parent for f in t.functions}
    assert (parents["tanh"], parents["sigmoid"]) == (0, 0)


def test_an_interrupt_in_a_layer_of_torch_leaves_no_call_open():
    def interrupt(module: nn.Module, args: Any) -> None:
        raise KeyboardInterrupt

    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU(), nn.ReLU()))
    with shapetrace.trace(model, checks=False) as t:
        handle = model[1][1].register_forward_pre_hook(interrupt)
        with pytest.raises(KeyboardInterrupt):
            model(X)
        handle.remove()
        X.tanh()
        model[1][0](X)
        model(X)
    names = rows(t)
    assert names[5] == ("1.0", None, False)
    assert [parent for name, parent, _ in names[6:]] == [None, "", "", "1", "1"]
    assert [f.parent for f in t.functions if f.name == "tanh"] == [None]


def fail(*_: Any) -> None:
    raise RuntimeError("the hook's own")


@pytest.mark.parametrize("kind", ["forward_pre_hook", "forward_hook"])
@pytest.mark.parametrize("when", ["before", "inside"])
def test_an_error_in_a_hook_of_the_user_fails_the_calls_around_it(kind, when):
    model = nested(nn.Linear(4, 4))
    t = shapetrace.trace(model)
    register = getattr(model.middle[1], f"register_{kind}")
    if when == "before":
        handle = register(fail)
    with pytest.raises(RuntimeError, match="the hook's own"):
        with t:
            if when == "inside":
                handle = register(fail)
            model(X)
    handle.remove()
    failed = {call.name: call.error is not None for call in t.calls}
    assert failed == {"": True, "middle": True, "middle.0": False, "middle.1": True}
    check_invariants(t.recording)
    source = t.calls[-1].source
    assert source is not None and source.file == str(HERE)


def test_a_failure_between_modules_is_held_as_a_function_in_no_module():
    model = nn.Linear(4, 3)
    with pytest.raises(RuntimeError):
        with shapetrace.trace(model) as t:
            nn.functional.cross_entropy(model(X), torch.ones(2, 5))
    assert rows(t) == [("", None, False)]
    loss = t.functions[-1]
    assert (loss.name, loss.parent, loss.outputs) == ("cross_entropy", None, None)
    assert t.recording.error.id == loss.error.id


def test_the_note_is_the_only_thing_added_to_the_exception():
    model = nested(nn.Linear(5, 3))
    with pytest.raises(RuntimeError) as untraced:
        model(X)
    with pytest.raises(RuntimeError) as traced:
        with shapetrace.trace(model):
            model(X)
    assert traced.value.args == untraced.value.args
    assert traced.value.__cause__ is None and traced.value.__context__ is None


class Proud(Exception):
    """Takes no notes."""

    def add_note(self, note: str) -> None:
        raise RuntimeError("no notes")


def test_an_exception_that_takes_no_notes_leaves_all_the_same():
    def fails(self: Any, x: torch.Tensor) -> None:
        raise Proud("mine")

    model = Calls(fails)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(Proud) as caught:
            with shapetrace.trace(model) as t:
                model(X)
    assert caught.value.args == ("mine",)
    assert t.calls[0].error is not None and t.failure is not None


def test_a_fault_of_ours_does_not_take_the_place_of_the_users_exception(monkeypatch):
    def broken(*args: Any) -> Any:
        raise ZeroDivisionError

    def fails(self: Any, x: Any) -> None:
        raise ValueError("mine")

    monkeypatch.setattr("shapetrace.recording.hooks.freeze", broken)
    model = Calls(fails)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="mine"):
            with shapetrace.trace(model) as t:
                model(X)
    assert any("could not be recorded" in note for note in t.recording.notes)


def test_an_exception_whose_message_cannot_be_made_is_recorded_all_the_same():
    class Broken(Exception):
        """Its `__str__` fails."""

        def __str__(self) -> str:
            raise ValueError

    model = Calls(raising(Broken()))
    with pytest.raises(Broken):
        with shapetrace.trace(model) as t:
            model(X)
    assert (t.calls[0].error.type[-6:], t.calls[0].error.message) == ("Broken", "")


class Secretive(torch.Tensor):
    """Tells nobody where it lies, nor of what kind it is."""

    @property
    def device(self) -> Any:
        raise ZeroDivisionError

    @property
    def dtype(self) -> Any:
        raise ZeroDivisionError


def test_a_call_that_fails_with_a_tensor_which_tells_nothing_is_held_as_any():
    x = torch.ones(2, 4).as_subclass(Secretive)
    with shapetrace.trace() as t, pytest.raises(RuntimeError):
        torch.add(x, torch.ones(3))
    assert t.functions[-1].name == "add" and t.functions[-1].error is not None
    assert [ref.shape for ref in t.functions[-1].inputs] == [(2, 4), (3,)]
    assert "add" in str(t.failure)
