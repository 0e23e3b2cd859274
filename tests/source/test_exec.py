"""Code that no file holds: kept in `linecache`, as IPython and doctests do."""

from __future__ import annotations

import linecache

import pytest
import torch

import shapetrace
from shapetrace.source.finder import Constructions

CODE = """import torch.nn as nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)
    def forward(self, x):
        return self.fc(x)
model = Net()
"""


@pytest.mark.parametrize(
    ("name", "place"),
    [("<ipython-input-7-0123abc>", "In [7]:5"), ("<generated>", "<generated>:5")],
)
def test_a_class_that_only_linecache_knows(name, place):
    linecache.cache[name] = len(CODE), None, CODE.splitlines(True), name
    names = {}
    exec(compile(CODE, name, "exec"), names)
    model = names["model"]
    with shapetrace.trace(model) as t:
        model(torch.ones(2, 4))
    made = Constructions(t.recording).of("fc")
    assert (str(made.source), made.made.code) == (place, "nn.Linear(4, 3)")
    assert [str(init) for init in t.recording.modules[""].inits] == [
        place.replace(":5", ":3")
    ]
    del linecache.cache[name]


def test_a_class_whose_source_is_gone_is_traced_all_the_same():
    names = {}
    exec(compile(CODE, "<gone>", "exec"), names)
    with shapetrace.trace(names["model"]) as t:
        names["model"](torch.ones(2, 4))
    assert Constructions(t.recording).of("fc") is None


def test_a_working_directory_that_is_gone_costs_no_explanation(tmp_path, monkeypatch):
    """Code that came from standard input has a name which is no path from the root."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    code = compile("model(torch.ones(2, 4))", "<stdin>", "exec")
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(2, 2))
    with pytest.raises(RuntimeError), shapetrace.trace(model) as t:
        exec(code, {"torch": torch, "model": model})
    assert t.failure.culprits[0].kind == "module"
    assert not [note for note in t.recording.notes if "incomplete" in note]
