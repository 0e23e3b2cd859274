"""What is found of training steps without times: their order tells enough."""

from __future__ import annotations

import pytest
import torch

import shapetrace
from tests.checks.test_checks_optimizers import (
    CORRECT,
    OPTIMIZERS,
    cleared,
    epochs,
    of_another_model,
    without,
)

WRONG = {
    "cleared": (lambda: cleared(torch.optim.SGD), "step-without-effect"),
    "another": (lambda: of_another_model(torch.optim.SGD), "step-without-effect"),
    "adam": (lambda: without("head")(OPTIMIZERS["adam"]), "layer-never-trained"),
    "eval": (epochs(lambda model: None), "trained-in-eval"),
}


@pytest.mark.parametrize("name", WRONG)
def test_steps_are_told_without_times(name):
    program, code = WRONG[name]
    torch.manual_seed(0)
    with pytest.warns(shapetrace.ShapeTraceWarning):
        with shapetrace.trace(timing=False) as t:
            program()
    assert [found.code for found in t.findings] == [code]


@pytest.mark.parametrize("program", CORRECT, ids=lambda program: program.__name__)
def test_correct_steps_are_told_without_times(program):
    torch.manual_seed(0)
    with shapetrace.trace(timing=False) as t:
        program()
    assert t.findings == ()
