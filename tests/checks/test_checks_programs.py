"""No check says a word about programs that are right, with coincident sizes."""

from __future__ import annotations

import inspect

import pytest
import torch

import shapetrace
from tests.checks import (
    correct_attention,
    correct_comparisons,
    correct_layers,
    correct_learning,
    correct_losses,
    correct_policies,
    correct_recurrent,
    correct_steps,
)


def programs(*files):
    return {
        name: program
        for file in files
        for name, program in inspect.getmembers(file, inspect.isfunction)
        if program.__module__ == file.__name__ and name not in ("net", "mlp")
    }


PROGRAMS = programs(correct_comparisons, correct_policies, correct_steps)
#: those that take a batch, a number of steps and a width
SIZED = programs(
    correct_attention,
    correct_layers,
    correct_learning,
    correct_losses,
    correct_recurrent,
)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_correct_program_is_given_no_finding(name):
    torch.manual_seed(0)
    with shapetrace.trace() as t:
        PROGRAMS[name]()
    assert [(found.code, found.message) for found in t.findings] == []


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("sizes", [(5, 7, 6), (4, 4, 4), (2, 3, 4)])
@pytest.mark.parametrize("name", SIZED)
def test_a_correct_program_warns_of_nothing_at_any_sizes(name, sizes):
    torch.manual_seed(0)
    models, step = SIZED[name](*sizes)
    with shapetrace.trace(*(models if isinstance(models, tuple) else (models,))) as t:
        loss = step()
        if loss is not None:
            loss.backward()
    loud = [found for found in t.findings if found.severity != "note"]
    assert [(found.code, found.message) for found in loud] == []
