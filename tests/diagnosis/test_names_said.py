"""A text calls a module what the script does, whether the trace was told of the model
or met it: the same words in both."""

from __future__ import annotations

import re

import pytest
import rounds_programs
import torch
from broken_programs import PROGRAMS
from failures import failure
from test_fixes import load

import shapetrace

BROKEN = PROGRAMS | {
    name: rounds_programs.sized(code.replace(right, slip), True)
    for name, (code, right, slip) in rounds_programs.PROGRAMS.items()
}
#: the loss is a module too, which only the trace of all modules names by its class
IS_MODULE = {"C2 lengths of 10 and 8, padding ignored"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(BROKEN.keys() - IS_MODULE))
def test_a_failure_reads_alike_whatever_the_trace_was_given(name, tmp_path):
    program = load(BROKEN[name], tmp_path / "program.py")
    traces = []
    for given in (True, False):
        torch.manual_seed(0)
        model = program.build()
        with pytest.raises(Exception):  # noqa: B017
            with shapetrace.trace(*([model] if given else [])) as t:
                program.step(model)
        traces.append(t)
    told, met = traces
    text = str(told.failure)
    if met.calls:  # a model that was not called yet is one that the other has not met
        assert text == str(met.failure)
    # the roots' names in the recording, "" and "Net", are in no text
    named = re.findall(r"`([\w.]+)`", text)
    assert not {name for name in named if name in met.recording.modules}


def test_nothing_that_speaks_for_a_culprit_is_said_twice():
    """The state's width is the last layer's problem, and the embedding's witness."""

    class Reader(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = torch.nn.Embedding(100, 32)
            self.rnn = torch.nn.GRU(32, 64, batch_first=True)
            self.head = torch.nn.Linear(32, 4)

        def forward(self, tokens):
            return self.head(self.rnn(self.emb(tokens))[1][-1])

    found = failure(Reader(), torch.zeros(8, 12, dtype=torch.long))
    said = [re.split("; ", culprit.reason) for culprit in found.culprits]
    assert any("is a width of `model.emb` too" in clause for clause in sum(said, []))
    assert all(len(set(clauses)) == len(clauses) for clauses in said)
