"""The range of indices that a GPU copies in the background, without a GPU."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import shapetrace.recording.values as values
from shapetrace.recording.values import Values

NOT_THERE = values._NOT_THERE


@pytest.fixture
def coming(monkeypatch):
    """Values of which two numbers are on their way, and one pair that never comes."""
    monkeypatch.setattr(values, "_FREE", [])
    waited = []
    monkeypatch.setattr(torch.accelerator, "synchronize", waited.append)
    made = Values([], None, True)
    device = torch.device("cuda:0")
    for numbers in ([2, 7], [NOT_THERE, NOT_THERE]):
        made._coming.append((torch.tensor(numbers), [], device))
    return made, [span for _, span, _ in made._coming], waited


def test_what_has_come_is_there_and_its_place_is_free_again(coming):
    made, spans, waited = coming
    made.settle()
    assert spans == [[2, 7], []]
    assert len(values._FREE) == 1 and waited == [torch.device("cuda:0")]
    made.settle()
    assert len(waited) == 1, "nothing is on its way any more"


def test_a_broken_device_keeps_nothing_of_what_has_come(coming, monkeypatch):
    made, spans, _ = coming

    def broken(device):
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(torch.accelerator, "synchronize", broken)
    made.settle()
    assert spans == [[2, 7], []]


def test_lookups_on_the_processor_are_not_read():
    events = []
    Values(events, None, True).read_target(F.embedding, (torch.tensor([1]),), {})
    assert events == []
