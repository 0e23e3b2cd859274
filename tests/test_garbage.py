"""Python's search for garbage goes on as it was, however a long piece of work ends."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import nn

import shapetrace
from shapetrace.diagnosis import explain
from shapetrace.records.garbage import uncollected


def test_it_stands_still_within_and_goes_on_after() -> None:
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_goes_on_after_an_exception() -> None:
    with pytest.raises(ZeroDivisionError), uncollected():
        1 / 0
    assert gc.isenabled()


def test_where_the_user_has_switched_it_off_it_stays_off() -> None:
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_it_goes_on_after_every_view() -> None:
    with shapetrace.trace(layer := nn.Linear(4, 3)) as t:
        layer(torch.ones(2, 4))
    for ask in (
        str,
        repr,
        lambda t: t.findings,
        lambda t: t.costs,
        lambda t: t.explain(),
    ):
        ask(t)
        assert gc.isenabled()


def test_it_stands_still_while_a_failure_is_explained(monkeypatch) -> None:
    enabled = []
    thought = explain.consider

    def consider(*given):
        enabled.append(gc.isenabled())
        return thought(*given)

    monkeypatch.setattr(explain, "consider", consider)
    with pytest.raises(RuntimeError), shapetrace.trace(layer := nn.Linear(4, 3)):
        layer(torch.ones(2, 5))
    assert enabled == [False] and gc.isenabled()
