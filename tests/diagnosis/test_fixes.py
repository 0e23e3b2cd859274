"""The first fix is pasted into the program, which then runs."""

import types

import pytest
import torch
from broken_programs import PROGRAMS, WANTED

import shapetrace


def load(code, path):
    path.write_text(code)
    module = types.ModuleType("program")
    exec(compile(code, str(path), "exec"), module.__dict__)
    return module


def fixes_of(code, path):
    """What is proposed for a program that fails."""
    program = load(code, path)
    model = program.build()
    with pytest.raises(Exception):
        with shapetrace.trace(model) as t:
            program.step(model)
    return t.failure.fixes


def pasted(code, fix):
    """The program with the line of the fix in place of the line that it names."""
    if fix.where is None:  # to be run once the model is built
        return code.replace("def step(model):\n", f"def step(model):\n    {fix.line}\n")
    lines = code.split("\n")
    first, last = fix.where.line, fix.where.end_line or fix.where.line
    old = lines[first - 1]
    indent = old[: len(old) - len(old.lstrip())]
    new = [indent + line for line in fix.line.split("\n")]
    return "\n".join([*lines[: first - 1], *new, *lines[last:]])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PROGRAMS)
def test_first_fix_pasted_makes_the_program_run(name, tmp_path):
    torch.manual_seed(0)
    code = PROGRAMS[name]
    fix = fixes_of(code, tmp_path / "program.py")[0]
    mended = load(pasted(code, fix), tmp_path / "mended.py")
    result = mended.step(mended.build())
    assert torch.is_tensor(result)
    assert WANTED[name] in fix.line
