"""A call that asks for more memory than there is."""

import pytest
import torch
from torch import nn

import shapetrace

#: numbers whose differences would take 10**14 elements
MANY = 10_000_000


def failed(model, run, **options):
    with pytest.raises(RuntimeError), shapetrace.trace(model, **options) as t:
        run()
    return t.failure


def test_two_vectors_that_are_stretched_to_a_matrix():
    model = nn.Linear(1, 1)
    target = torch.zeros(MANY)

    def run():
        prediction = model(torch.zeros(MANY, 1))
        return (prediction - target).pow(2).mean()

    found = failed(model, run)
    assert found.where == "function:sub" and not found.culprits and not found.fixes
    assert found.message == "`sub` ran out of memory: it asked for 400 TB more."
    assert f"({MANY}, 1) and ({MANY},) are stretched to ({MANY}, {MANY})" in str(found)
    assert "trace(model, memory=True)" in str(found)


def test_what_was_held_then_and_who_made_it():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    x = torch.zeros(1000, 4)

    def run():
        return model(x).repeat(10_000_000_000, 1)

    found = failed(model, run, memory=True)
    assert found.message.startswith("`repeat` ran out of memory")
    # the ReLU keeps what it made, and nobody what the layer before it made
    assert "Held then, beside parameters: 32 kB activations; t.memory()" in str(found)
    assert "stretched" not in str(found)
