"""Sizes in the names that the user's code has, and integers back to where they stem."""

from __future__ import annotations

import textwrap
import types

import pytest

import shapetrace
from shapetrace.source.called import module_path, root_name
from shapetrace.source.finder import Constructions
from shapetrace.source.frames import expression_of
from shapetrace.source.sizes import reworded, sizes_at, spelled_size

HEAD = "import torch\nfrom torch import nn\nfrom torch.nn import functional as F\n"


@pytest.fixture
def recorded(tmp_path):
    def record(program: str):
        code = HEAD + textwrap.dedent(program)
        path = tmp_path / f"program{len(list(tmp_path.iterdir()))}.py"
        path.write_text(code)
        module = types.ModuleType("program")
        exec(compile(code, str(path), "exec"), module.__dict__)
        with shapetrace.trace(getattr(module, "model", None) or module.NET) as t:
            module.step()
        return t.recording

    return record


ATTENTION = """
    class Attention(nn.Module):
        def __init__(self, width, heads=2):
            super().__init__()
            self.heads = heads
            self.qkv = nn.Linear(width, 3 * width)
        def forward(self, x, mask=None):
            B, T, C = x.shape
            n = len(x)
            q, k, v = self.qkv(x).chunk(3, -1)
            q = q.view(B, T, self.heads, C // self.heads)
            k = k.reshape(k.size(0), -1)
            return q.sum() + k.sum()
    model = Attention(6)
    def step():
        x = torch.ones(5, 7, 6)
        return model(x)
"""


def called(rec, name):
    return next(call for call in rec.functions if call.name == name)


def test_sizes_have_the_names_of_the_scope(recorded):
    rec = recorded(ATTENTION)
    ways = sizes_at(rec, called(rec, "view"))
    texts = [way.text for way in ways if way.named]
    assert texts == ["B", "T", "C", "n", "self.heads"]
    (x,), q = rec.calls[0].inputs, called(rec, "view").inputs[0]
    assert spelled_size(ways, 7) == "T"
    assert spelled_size(ways, 2) == "self.heads"
    assert spelled_size(ways, 5, same={(x.id, 0)}) == "B"
    assert spelled_size(ways, 6, same={(q.id, 2)}) == "q.size(2)"
    assert spelled_size(ways, 11) is None


def test_equal_sizes_of_two_names_are_not_taken_for_each_other(recorded):
    rec = recorded(ATTENTION.replace("5, 7, 6", "2, 7, 6"))
    ways = sizes_at(rec, called(rec, "view"))
    assert spelled_size(ways, 2) is None
    (x,) = rec.calls[0].inputs
    assert spelled_size(ways, 2, same={(x.id, 0)}) == "B"


def test_a_name_that_is_bound_again_no_longer_stands_for_the_old_tensor(recorded):
    rec = recorded("""
        model = nn.Linear(4, 3)
        def step():
            x = torch.ones(2, 4)
            n = x.shape[1]
            x, n = model(x), 9
            y = len(x)
            return x.view(-1)
    """)
    ways = sizes_at(rec, called(rec, "view"))
    assert [(way.text, way.size) for way in ways] == [
        ("y", 2),
        ("x.shape[0]", 2),
        ("x.shape[1]", 3),
    ]


def stem_of(rec, call, argument):
    made = expression_of(rec, call)
    node = made.node.args[argument]
    found = Constructions(rec).stem(made.at(node))
    return None if found is None else (found.kind, str(found), found.value)


def test_integers_go_back_to_shapes_constants_and_values(recorded):
    rec = recorded("""
        WIDTH = 4
        class Net(nn.Module):
            def __init__(self, states=3):
                super().__init__()
                self.states = states
                self.fc = nn.Linear(WIDTH, states)
            def forward(self, x, index, steps):
                b, t = x.shape[0], x.size(-1)
                _, *rest, last = x.shape
                top = index.max() + 1
                torch.ones(b, t)
                torch.zeros(last, self.states)
                torch.full((2, 2), top.item())
                torch.empty(steps, WIDTH * 2)
                torch.randn(b * t, rest[0])
                return self.fc(x)
        model = Net()
        def step(n=2):
            index = torch.tensor([1, 2])
            return model(torch.ones(2, 3, 4), index, n)
    """)
    ones = [call for call in rec.functions if call.name == "ones"][-1]
    assert stem_of(rec, ones, 0) == ("shape", "x.shape[0]", None)
    assert stem_of(rec, ones, 1) == ("shape", "x.shape[-1]", None)
    zeros = called(rec, "zeros")
    assert stem_of(rec, zeros, 0) == ("shape", "x.shape[-1]", None)
    assert stem_of(rec, zeros, 1)[::2] == ("default", 3)
    assert "states=3 at" in stem_of(rec, zeros, 1)[1]
    empty = called(rec, "empty")
    assert stem_of(rec, empty, 0)[::2] == ("default", 2)
    assert stem_of(rec, empty, 1) == ("expression", "WIDTH * 2", 8)
    randn = called(rec, "randn")
    assert stem_of(rec, randn, 0)[:2] == ("expression", "b * t")
    assert stem_of(rec, randn, 1) is None


def test_a_number_is_reworded_in_the_names_it_was_written_with(recorded):
    rec = recorded("""
        class Net(nn.Module):
            def __init__(self, width=64, heads=8, kv_heads=4, features=6):
                super().__init__()
                self.hidden = width
                self.k = nn.Linear(width, features * heads)
                self.out = nn.Linear(self.hidden, 10)
                self.flat = nn.Linear(32 * 2 * 2, 10)
            def forward(self, x):
                return self.out(x)
        model = Net()
        def step():
            return model(torch.ones(2, 64))
    """)
    made = Constructions(rec)

    def says(name, argument, wanted):
        return reworded(made.of(name).argument(argument), wanted, made.scopes)

    assert says("k", "out_features", 24) == "features * kv_heads"
    assert says("k", "out_features", 96) == "2 * (features * heads)"
    assert says("k", "out_features", 50) == "50"
    assert says("out", "in_features", 128) == "2 * self.hidden"
    assert says("k", "out_features", 49) == "features * heads + 1"
    assert says("out", "in_features", 63) == "self.hidden - 1"
    assert says("out", "out_features", 20) == "20"
    assert says("flat", "in_features", 32 * 3 * 3) == "288"
    text, place = made.of("k").changed(out_features="features * kv_heads", bias="False")
    assert text == "self.k = nn.Linear(width, features * kv_heads, bias=False)"
    assert place.line == place.end_line == 9


@pytest.mark.parametrize(
    ("program", "name", "path"),
    [
        (
            "net = NET = nn.Sequential(nn.Linear(4, 4))\n"
            "def step():\n    return net(torch.ones(2, 4))",
            "net",
            "net[0]",
        ),
        (
            "def forward_of(module, x):\n    return module(x)\n"
            "net = NET = nn.Sequential(nn.Linear(4, 4))\n"
            "def step():\n    return forward_of(net, torch.ones(2, 4))",
            "net",
            "net[0]",
        ),
        (
            "class Agent:\n    def __init__(self):\n"
            "        self.actor = nn.Sequential(nn.Linear(4, 4))\n"
            "agent = Agent()\nNET = agent.actor\n"
            "def step():\n    return agent.actor(torch.ones(2, 4))",
            "agent.actor",
            "agent.actor[0]",
        ),
    ],
)
def test_a_root_is_called_what_the_script_calls_it(recorded, program, name, path):
    rec = recorded(program)
    assert root_name(rec) == name
    assert module_path(rec, "0") == path
