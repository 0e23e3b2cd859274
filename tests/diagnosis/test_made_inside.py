"""A program that makes its model inside the block, or has stepped it there, is told the
same as one whose model was there before: so are all that `shapetrace run` runs."""

import importlib.util

import pytest
import torch
from broken_programs import PROGRAMS

import shapetrace


def loaded(code, path):
    path.write_text(code)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def within(name, roots):
    """A module's name as seen from its root."""
    for root in roots:
        if name == root or name.startswith(f"{root}."):
            return name[len(root) + 1 :]
    return name.partition(" made by")[0]


def told(t):
    """Who is named first, what is to be written, and which operands are whose."""
    found = t.failure
    roots = {call.name for call in t.calls if call.parent is None and call.name}
    culprit = found.culprits[0]
    fix = found.fixes[0]
    labels = [operand.label for operand in found.operands]
    return culprit.kind, within(culprit.name, roots), fix.line, fix.status, labels


def stepped(model):
    """As after an optimizer's step that moves nothing."""
    parameters = [p for p in model.parameters() if p.is_floating_point()]
    if parameters:
        optimizer = torch.optim.Adam(parameters)
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_model_made_or_stepped_inside_is_told_as_one_made_before(name, tmp_path):
    program = loaded(PROGRAMS[name], tmp_path / "program.py")
    torch.manual_seed(0)
    model = program.build()
    with pytest.raises(Exception), shapetrace.trace(model) as before:  # noqa: B017
        program.step(model)
    with pytest.raises(Exception), shapetrace.trace() as inside:  # noqa: B017
        torch.manual_seed(0)
        model = program.build()
        if not any(
            isinstance(p, torch.nn.UninitializedParameter) for p in model.parameters()
        ):
            stepped(model)
        program.step(model)
    assert told(inside) == told(before)
