"""What is said of a program that fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

import shapetrace
from shapetrace.diagnosis.consider import consider
from shapetrace.diagnosis.explain import mismatch_of
from shapetrace.diagnosis.rank import Scored
from shapetrace.lineage import Graph


class Runs(nn.Module):
    """A forward made of one function, with the layers that it needs."""

    def __init__(self, run: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, *inputs: Any) -> Any:
        return self.run(self, *inputs)


def failure_of(
    model: nn.Module, step: Callable[[], Any]
) -> shapetrace.Diagnosis | None:
    """The diagnosis of a step that raises; None where what it raised is its own."""
    with pytest.raises(Exception) as raised:
        with shapetrace.trace(model) as t:
            step()
    assert not isinstance(raised.value, shapetrace.ShapeTraceError)
    return t.failure


def failure(
    model: nn.Module, *inputs: Any, then: Callable[[Any], Any] | None = None
) -> shapetrace.Diagnosis | None:
    """The diagnosis of a model's call, or of what is done with its output."""
    if then is None:
        return failure_of(model, lambda: model(*inputs))
    return failure_of(model, lambda: then(model(*inputs)))


def considered(model: nn.Module, step: Callable[[], Any]) -> list[Scored]:
    """All hypotheses of a step that raises, with their evidence, the best first."""
    with shapetrace.trace(model) as t, pytest.raises(Exception):
        step()
    graph = Graph(t.recording)
    return consider(graph, mismatch_of(graph)).scored


def first(found: shapetrace.Diagnosis) -> tuple[str, str]:
    """Kind and name of the likeliest culprit."""
    return found.culprits[0].kind, found.culprits[0].name
