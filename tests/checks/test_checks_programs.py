"""No check says a word about programs that are right, with coincident sizes."""

from __future__ import annotations

import inspect

import pytest
import torch

import shapetrace
from tests.checks import correct_comparisons, correct_policies, correct_steps

FILES = (correct_comparisons, correct_policies, correct_steps)
PROGRAMS = {
    name: program
    for file in FILES
    for name, program in inspect.getmembers(file, inspect.isfunction)
    if program.__module__ == file.__name__ and name != "net"
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_correct_program_is_given_no_finding(name):
    torch.manual_seed(0)
    with shapetrace.trace() as t:
        PROGRAMS[name]()
    assert [(found.code, found.message) for found in t.findings] == []
