"""Findings in a long trace, of which the first calls are dropped."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace
from shapetrace.checks import CHECKS
from tests.checks.test_checks_docs import FOLDER, ON_DEVICES, executed
from tests.checks.test_checks_programs import PROGRAMS

#: what cannot be told of the calls that are kept of a page's example: the steps before
#: it, an optimizer that may have been given the layers, and a batch that comes again
UNKNOWN = (
    "trained-in-eval",
    "layer-not-registered",
    "validated-in-training",
    "incomplete-step",
)
LIMIT = 16


def repeated(code, which):
    """The findings of an example that is run eight times, of which half is kept."""
    page = (FOLDER / f"{code}.md").read_text()
    block = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[which]
    lines: list[str] = []
    inside = None
    for line in block.splitlines():
        indent = len(line) - len(line.lstrip())
        begun = re.match(r"( *)with shapetrace.trace\((.*)\) as t:", line)
        if begun is not None:
            given = f"{begun[2]}, " if begun[2] else ""
            head = f"{begun[1]}with shapetrace.trace({given}max_calls={LIMIT}) as t:"
            lines += [head, f"{begun[1]}    for _again in range(24):"]
            inside = indent
            continue
        if inside is not None and line.strip() and indent <= inside:
            inside = None
        lines.append("    " + line if inside is not None and line.strip() else line)
    return executed(f"{code}, repeated.md", "\n".join(lines) + "\n")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("code", [c for c in CHECKS if c not in ON_DEVICES])
def test_a_mistake_of_each_step_is_found_in_those_that_are_kept(code):
    found = set(repeated(code, 0))
    if code not in UNKNOWN:
        assert code in found
    # the page trains for one step, and clears nothing
    assert found <= {code} | {"gradients-not-cleared"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("code", CHECKS)
def test_a_mended_example_is_silent_whatever_is_dropped(code):
    assert set(repeated(code, 1)) <= {"gradients-not-cleared"} - {code}


@pytest.mark.parametrize("limit", [2, 9])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_correct_program_is_silent_whatever_is_dropped(name, limit):
    torch.manual_seed(0)
    with shapetrace.trace(max_calls=limit) as t:
        for _ in range(3):
            PROGRAMS[name]()
    assert [(one.code, one.message) for one in t.findings] == []


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.head = (
            nn.Linear(8, 8),
            nn.Linear(8, 8),
            nn.Linear(8, 3),
        )

    def forward(self, x):
        return self.head(self.two(self.one(x).relu()).relu())


def train(model, optimizer, steps, clear=True):
    for _ in range(steps):
        loss = F.cross_entropy(model(torch.randn(6, 8)), torch.randint(3, (6,)))
        if clear:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def of_newest(program, limit=24):
    torch.manual_seed(0)
    with shapetrace.trace(max_calls=limit) as t:
        program()
    assert t.recording.dropped_calls
    return [(found.code, found.severity) for found in t.findings]


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
def test_gradients_that_nobody_clears_in_the_last_of_many_steps():
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    found = of_newest(lambda: train(model, optimizer, 20, clear=False))
    assert found == [("gradients-not-cleared", "warning")]


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
def test_gradients_cleared_up_to_the_calls_that_are_kept():
    """The first of the kept steps is not judged: who cleared before it is unknown."""
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    assert of_newest(lambda: train(model, optimizer, 20)) == []


def test_a_layer_that_steps_may_have_trained_before_is_no_alarm():
    model = Net()
    both = torch.optim.SGD(model.parameters(), 0.01)
    ends = torch.optim.SGD([*model.one.parameters(), *model.head.parameters()], 0.01)

    def program():
        train(model, both, 10)
        train(model, ends, 20)

    assert of_newest(program) == [("layer-never-trained", "note")]
    with shapetrace.trace() as t:
        program()
    assert t.findings == ()


@pytest.mark.parametrize("limit", range(10, 26))
def test_a_step_of_which_the_first_layers_were_dropped_is_not_judged(limit):
    """Most layers are not trained, as in a fine-tuning; of the later ones most are."""
    layers = nn.Sequential(*[nn.Linear(8, 8) for _ in range(5)])
    ends = torch.optim.SGD([*layers[2].parameters(), *layers[4].parameters()], 0.01)

    def program():
        train(layers, ends, 20)

    assert of_newest(program, limit) == []


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
def test_a_model_that_is_in_evaluation_at_the_end_was_trained_all_the_same():
    model = Net()
    ends = torch.optim.SGD([*model.one.parameters(), *model.head.parameters()], 0.01)
    with shapetrace.trace() as t:
        train(model, ends, 2)
        model.eval()
        with torch.no_grad():
            model(torch.randn(6, 8)).argmax(1)
    (found,) = t.findings
    assert (found.code, found.culprits[0].name) == ("layer-never-trained", "Net.two")


def test_data_stays_data_when_the_calls_that_made_it_are_dropped():
    model = nn.Linear(8, 8)
    with shapetrace.trace(model, max_calls=2) as t:
        raw = torch.randn(40, 8)
        data = (raw - raw.mean(0)) / raw.std(0)
        kept = model(data).detach()
        mixed = torch.zeros(40, 8)
        mixed[:] = kept
        for _ in range(8):
            model(data + kept + mixed)
        uses = [call for call in t.functions if call.name == "add"]
    first, second = uses[-2:]
    origins = t.recording.origins
    assert origins[first.inputs[0].id].kind == "outside"
    assert origins[first.inputs[1].id].kind == "unseen"
    assert origins[second.inputs[1].id].kind == "unseen"
