"""Which function of a file a name stands for."""

import pytest

from shapetrace.source.tree import tree

TEXT = """
def step(): return 0

def one():
    def step(): return 1
    opt.step()
    return lambda: step()

def two(step): return 2

class Net:
    def step(self): return 3
    def forward(self): return step()
"""


@pytest.fixture
def parsed(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(TEXT)
    return tree(str(path))


def test_a_nested_function_is_seen_from_inside_alone(parsed):
    calls = [call for call in parsed.calls["step"] if hasattr(call.func, "id")]
    found = {call.lineno: parsed.function("step", parsed.home(call)) for call in calls}
    assert {line: one.lineno for line, one in found.items()} == {7: 5, 13: 2}


def test_a_method_is_no_function_of_the_file(parsed):
    assert parsed.function("forward", parsed.module) is None
