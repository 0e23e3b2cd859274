"""What is remembered of the names in a program that failed: plain data alone."""

import gc
import weakref
from argparse import Namespace
from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import shapetrace
from shapetrace.records import Held, Opaque, TensorRef


@dataclass
class Config:
    heads: int = 4
    name: str = "small"


class Slotted:
    __slots__ = ("rate", "unset")

    def __init__(self):
        self.rate = 0.5


class Hostile:
    """Whose attributes must not be asked for."""

    asked = 0

    @property
    def rate(self):
        Hostile.asked += 1
        raise RuntimeError("asked")

    @property
    def __class__(self):
        Hostile.asked += 1
        raise RuntimeError("asked")

    def __getattr__(self, name):
        Hostile.asked += 1
        raise RuntimeError("asked")

    def __len__(self):
        Hostile.asked += 1
        raise RuntimeError("asked")


Column = namedtuple("Column", ["name", "width"])


class Net(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config, self.columns = config, [Column("hour", 12)]
        self.table = {"hour": (0, 1)}
        self.fc = nn.Linear(3, 4)

    def forward(self, x):
        scale = self.config.heads * 2
        return self.fc(x) * scale


def own(x):
    return x


def failing(model, **names):
    """A step in which those names stand for something."""
    locals().update(names)
    given, criterion, how = names, nn.CrossEntropyLoss(ignore_index=7), own
    batch = torch.rand(2, 5)
    with pytest.raises(RuntimeError), shapetrace.trace(model) as t:
        _step(model, batch, given, criterion, how)
    return t.recording.script


def _step(model, batch, given, criterion, how):
    for number in range(3):
        loss = criterion(how(model(batch)), torch.zeros(2, dtype=torch.long))
        given[str(number)] = loss


def frame(script, function):
    return next(f.values for f in script.frames if f.source.function == function)


def told(script, value):
    """An object by what is known of it."""
    assert isinstance(value, Held)
    return script.objects[value.number]


def test_numbers_tensors_and_objects_of_the_failing_functions():
    model = Net(Config())
    script = failing(model, size=3, args=Namespace(lr=0.1, steps=[1, 2]))
    names = frame(script, "_step")
    assert names["number"] == 0 and "loss" not in names
    assert isinstance(names["batch"], TensorRef) and names["batch"].shape == (2, 5)
    assert names["given"]["size"] == 3
    assert told(script, names["given"]["args"]).values == {"lr": 0.1, "steps": [1, 2]}
    assert told(script, names["model"]).kind == "module"
    loss = told(script, names["criterion"])
    assert (loss.kind, loss.values["ignore_index"]) == ("layer", 7)
    assert told(script, names["how"]).name == "own"
    assert told(script, names["how"]).source.line == own.__code__.co_firstlineno


def test_what_the_models_own_classes_hold():
    script = failing(Net(Config(heads=6)))
    held = script.attributes[""]
    assert held["table"] == {"hour": (0, 1)}
    config = told(script, held["config"])
    assert config.values == {"heads": 6, "name": "small"}
    assert config.source.file == __file__
    assert told(script, held["columns"][0]).values == {"name": "hour", "width": 12}
    assert "fc" not in held  # a layer, which the recording knows


def test_no_property_is_asked_and_nothing_called():
    script = failing(Net(Config()), odd=Hostile(), slots=Slotted())
    given = frame(script, "_step")["given"]
    assert Hostile.asked == 0
    assert told(script, given["odd"]).values == {}
    assert told(script, given["slots"]).values == {"rate": 0.5}


def test_long_texts_and_long_lists_are_left_out():
    script = failing(Net(Config()), key="s" * 41, many=list(range(101)), short="ab")
    given = frame(script, "_step")["given"]
    assert given["key"] == Opaque("str") and given["many"] == Opaque("list")
    assert given["short"] == "ab"


def test_what_holds_itself():
    one = Namespace(size=2)
    one.itself = one
    script = failing(Net(Config()), one=one)
    held = frame(script, "_step")["given"]["one"]
    assert told(script, held).values == {"size": 2, "itself": held}


def test_nothing_is_kept_alive():
    model, data = Net(Config()), torch.rand(2, 5)
    try:
        with shapetrace.trace(model) as t:
            model(data)
    except RuntimeError:  # with its traceback
        pass
    gone = [weakref.ref(data), weakref.ref(model), weakref.ref(model.config)]
    assert t.recording.script is not None
    del model, data
    gc.collect()
    assert [one() for one in gone] == [None, None, None]


def test_functions_that_go_on_are_not_asked_for_their_names():
    """Python would keep what they stand for, and refresh what `locals()` gave."""
    before = torch.rand(3)
    taken = locals()
    with pytest.raises(RuntimeError), shapetrace.trace(Net(Config())) as t:
        model = Net(Config())
        model(torch.rand(2, 5))
    assert set(taken) == {"before"} and taken["before"] is before
    functions = [one.source.function for one in t.recording.script.frames]
    assert functions == ["Net.forward", "<module>"]


def test_a_batch_that_goes_well_is_not_looked_at():
    with shapetrace.trace(model := Net(Config())) as t:
        model(torch.rand(2, 3))
    assert t.recording.script is None


def test_it_is_written_and_read_back(tmp_path):
    model = Net(Config())
    with pytest.raises(RuntimeError), shapetrace.trace(model) as t:
        model(torch.rand(2, 5))
    t.to_json(tmp_path / "trace.json")
    assert shapetrace.load(tmp_path / "trace.json").recording.script == (
        t.recording.script
    )
