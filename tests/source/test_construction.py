"""The call that built a module, however the user's code goes about it."""

from __future__ import annotations

import textwrap
import types

import pytest

import shapetrace
from shapetrace.source.called import module_path
from shapetrace.source.finder import Constructions

HEAD = "import torch\nfrom collections import OrderedDict\nfrom torch import nn\n"


@pytest.fixture
def recorded(tmp_path):
    """The recording of `model` of a program, called on an input of its size."""

    def record(program: str, *, call: str = "model(torch.ones(2, 4))"):
        code = HEAD + textwrap.dedent(program) + f"\ndef step():\n    return {call}\n"
        path = tmp_path / "program.py"
        path.write_text(code)
        module = types.ModuleType("program")
        exec(compile(code, str(path), "exec"), module.__dict__)
        with shapetrace.trace(module.model) as t:
            module.step()
        return t.recording

    return record


def found(rec, name):
    made = Constructions(rec).of(name)
    return None if made is None else (made.made.code, made.made.repeated)


PLAIN = """
    class Net(nn.Module):
        def __init__(self, hidden=8):
            super().__init__()
            self.fc1 = nn.Linear(4, hidden)
            self.body = nn.Sequential(nn.ReLU(), nn.Sequential(nn.Linear(8, 3)))
        def forward(self, x):
            return self.body(self.fc1(x))
    model = Net()
"""


def test_an_attribute_entries_of_a_sequential_and_the_root(recorded):
    rec = recorded(PLAIN)
    assert found(rec, "fc1") == ("nn.Linear(4, hidden)", False)
    assert found(rec, "body.0") == ("nn.ReLU()", False)
    assert found(rec, "body.1.0") == ("nn.Linear(8, 3)", False)
    assert found(rec, "") == ("Net()", False)


@pytest.mark.parametrize(
    ("body", "name", "code", "repeated"),
    [
        # a list that grows
        (
            """
            layers = []
            layers.append(nn.Linear(4, 5))
            layers += [nn.ReLU(), nn.Linear(5, 6)]
            self.net = nn.Sequential(*layers)
            """,
            "net.2",
            "nn.Linear(5, 6)",
            False,
        ),
        # a loop, of which every turn builds by the same line
        (
            """
            layers = []
            for _ in range(3):
                layers += [nn.Linear(4, 4), nn.ReLU()]
            self.net = nn.Sequential(*layers)
            """,
            "net.4",
            "nn.Linear(4, 4)",
            True,
        ),
        (
            "self.net = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])",
            "net.1",
            "nn.Linear(4, 4)",
            True,
        ),
        (
            """
            self.net = nn.ModuleList()
            for width in (4, 4):
                self.net.append(nn.Linear(width, 4))
            self.net.append(nn.Linear(4, 2, bias=False))
            """,
            "net.2",
            "nn.Linear(4, 2, bias=False)",
            False,
        ),
        (
            "self.net = nn.Sequential(nn.ReLU(), *[nn.Linear(4, 4) for _ in 'ab'])",
            "net.2",
            "nn.Linear(4, 4)",
            True,
        ),
        # names
        (
            "self.net = nn.Sequential("
            "OrderedDict([('a', nn.ReLU()), ('b', nn.Linear(4, 4))]))",
            "net.b",
            "nn.Linear(4, 4)",
            False,
        ),
        (
            "self.net = nn.Sequential(OrderedDict(a=nn.Linear(4, 3), b=nn.ReLU()))",
            "net.a",
            "nn.Linear(4, 3)",
            False,
        ),
        (
            "self.net = nn.ModuleDict({'a': nn.Linear(4, 4), 'b': nn.Linear(4, 3)})",
            "net.b",
            "nn.Linear(4, 3)",
            False,
        ),
        (
            """
            self.net = nn.Sequential()
            self.net.add_module("a", nn.Linear(4, 4))
            self.net.add_module("b", nn.Linear(4, 3))
            """,
            "net.b",
            "nn.Linear(4, 3)",
            False,
        ),
        (
            "for i in range(2): self.add_module(f'net{i}', nn.Linear(4, 4))",
            "net1",
            "nn.Linear(4, 4)",
            True,
        ),
        ("setattr(self, 'net', nn.Linear(4, 4))", "net", "nn.Linear(4, 4)", False),
        # unpacked, renamed, wrapped, chosen
        (
            "self.net, self.b = nn.Linear(4, 4), nn.Linear(4, 3)",
            "b",
            "nn.Linear(4, 3)",
            False,
        ),
        (
            "layer = nn.Linear(4, 4)\nself.net = layer.double().float()",
            "net",
            "nn.Linear(4, 4)",
            False,
        ),
        (
            "wide = True\nself.net = nn.Linear(4, 9) if wide else nn.Linear(4, 3)",
            "net",
            "nn.Linear(4, 9)",
            False,
        ),
        (
            "if False:\n    self.net = nn.Linear(4, 9)\n"
            "else:\n    self.net = nn.Linear(4, 3)",
            "net",
            "nn.Linear(4, 3)",
            False,
        ),
        (
            "self.net: nn.Module = nn.Sequential(nn.Linear(4, 4), norm(4))",
            "net.1",
            "norm(4)",
            False,
        ),
        # helpers: of the file, and of the class
        (
            "self.net = nn.Sequential(block(4, 5), block(5, 6))",
            "net.1.0",
            "nn.Linear(i, o)",
            False,
        ),
        (
            "self.net = self.make(4, 3)",
            "net.1.0",
            "nn.Linear(i, o)",
            False,
        ),
        ("self.make_more()", "net", "nn.Linear(4, 7)", False),
    ],
)
def test_ways_to_build_a_layer(recorded, body, name, code, repeated):
    program = """
def block(i, o):
    layer = nn.Linear(i, o)
    return nn.Sequential(layer, nn.ReLU())

norm = nn.LayerNorm

class Net(nn.Module):
    def __init__(self):
        super().__init__()
{body}
    def make(self, i, o):
        return nn.Sequential(nn.ReLU(), block(i, o))
    def make_more(self):
        self.net = nn.Linear(4, 7)
    def forward(self, x):
        return x

model = Net()
"""
    inner = textwrap.indent(textwrap.dedent(body).strip("\n"), " " * 8)
    rec = recorded(program.replace("{body}", inner))
    assert found(rec, name) == (code, repeated)


BLOCKS = """
    class Block(nn.Module):
        def __init__(self, i, o):
            super().__init__()
            self.fc = nn.Linear(i, o)
        def forward(self, x):
            return self.fc(x)
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = Block(4, 5), Block(5, 3)
        def forward(self, x):
            return self.b(self.a(x))
    model = Net()
"""


def test_one_line_that_builds_many_says_so(recorded):
    made = Constructions(recorded(BLOCKS))
    one = made.of("b.fc")
    assert made.built_by(one) == ("a.fc", "b.fc")
    assert one.argument("in_features").code == "i"
    assert one.made.scope.given["i"].code == "5"
    assert made.of("b").made.code == "Block(5, 3)"
    assert made.of("b").argument("o").code == "3"


@pytest.mark.parametrize(
    ("program", "name", "code"),
    [
        ("model = nn.Sequential(nn.ReLU(), nn.Linear(4, 2))", "1", "nn.Linear(4, 2)"),
        (
            "def build():\n    return nn.Sequential(nn.Linear(4, 2), nn.ReLU())\n"
            "model = build()",
            "0",
            "nn.Linear(4, 2)",
        ),
        ("model = nn.Linear(4, 2)", "", "nn.Linear(4, 2)"),
        (
            "import copy\nclass S(nn.Sequential):\n    def __init__(self, n):\n"
            "        super().__init__(nn.ReLU(), nn.Linear(4, n))\nmodel = S(3)",
            "1",
            "nn.Linear(4, n)",
        ),
        (
            "class Base(nn.Module):\n    def __init__(self, n):\n"
            "        super().__init__()\n        self.fc = nn.Linear(4, n)\n"
            "    def forward(self, x):\n        return self.fc(x)\n"
            "class Net(Base):\n    def __init__(self):\n"
            "        super().__init__(7)\nmodel = Net()",
            "fc",
            "nn.Linear(4, n)",
        ),
        (
            "model = nn.Sequential(nn.ReLU(), nn.Linear(4, 2))\n"
            "model[1] = nn.Linear(4, 3)",
            "1",
            "nn.Linear(4, 3)",
        ),
        (
            "def outer():\n    class Net(nn.Module):\n        def __init__(self):\n"
            "            super().__init__()\n            self.fc = nn.Linear(4, 3)\n"
            "        def forward(self, x):\n            return self.fc(x)\n"
            "    return Net()\nmodel = outer()",
            "fc",
            "nn.Linear(4, 3)",
        ),
        (
            "class Cfg:\n    width: int = 6\n"
            "class Net(nn.Module):\n    def __init__(self, cfg):\n"
            "        super().__init__()\n        self.fc = nn.Linear(4, cfg.width)\n"
            "    def forward(self, x):\n        return self.fc(x)\n"
            "model = Net(Cfg())",
            "fc",
            "nn.Linear(4, cfg.width)",
        ),
    ],
)
def test_where_a_script_builds_its_model(recorded, program, name, code):
    assert found(recorded(program), name) == (code, False)


def test_a_layer_put_in_after_a_library_built_the_model(recorded):
    pytest.importorskip("torchvision")
    rec = recorded(
        "import torchvision\n"
        "model = torchvision.models.resnet18()\nmodel.fc = nn.Linear(512, 10)",
        call="model(torch.ones(2, 3, 32, 32))",
    )
    made = Constructions(rec)
    assert made.of("fc").made.code == "nn.Linear(512, 10)"
    assert made.of("layer1.0.conv1") is None  # a library's file is not the user's


def test_what_cannot_be_told_is_not_said(recorded):
    rec = recorded("""
        class Net(nn.Module):
            def __init__(self, flag):
                super().__init__()
                if flag:
                    self.fc = nn.Linear(4, 3)
                else:
                    self.fc = nn.Linear(4, 3)
            def forward(self, x):
                return self.fc(x)
        model = Net(torch.rand(1) < 2)
    """)
    assert found(rec, "fc") is None


def test_sizes_come_from_where_they_are_written(recorded):
    made = Constructions(recorded("""
        WIDTH = 6
        class Net(nn.Module):
            def __init__(self, i, hidden=8, heads=2, *, deep=3):
                super().__init__()
                self.heads = heads
                inner = hidden * self.heads
                self.a = nn.Linear(i, hidden)
                self.b = nn.Linear(hidden, inner)
                self.c = nn.Linear(16, WIDTH)
                self.d = nn.Linear(2 * WIDTH, out_features=deep)
            def forward(self, x):
                return x
        model = Net(4, deep=5)
    """))

    def says(name, argument):
        found = made.stem(made.of(name).argument(argument))
        return str(found), found.value, found.names

    assert says("a", "in_features") == ("constant 4 at program.py:17", 4, ("i",))
    where = "default hidden=8 at program.py:7"
    assert says("a", "out_features") == (where, 8, ("hidden",))
    assert says("b", "out_features") == ("hidden * self.heads", 16, ("inner",))
    assert says("c", "out_features") == ("constant 6 at program.py:5", 6, ("WIDTH",))
    assert says("d", "in_features") == ("2 * WIDTH", 12, ())
    assert says("d", "out_features") == ("constant 5 at program.py:17", 5, ("deep",))


def test_a_root_that_an_object_of_the_users_holds(recorded):
    program = """
        def make(n):
            layers = []
            for _ in range(2):
                layers.append(nn.Linear(n, n))
            return nn.Sequential(*layers, nn.Linear(4, 2))
        class Trainer:
            def __init__(self):
                self.net = make(4)
            def step(self, x):
                return self.net(x)
        trainer = Trainer()
        model = trainer.net
    """
    rec = recorded(program, call="trainer.step(torch.ones(2, 4))")
    assert found(rec, "2") == ("nn.Linear(4, 2)", False)
    assert found(rec, "1") == ("nn.Linear(n, n)", True)


def test_a_root_of_a_trace_without_modules_is_found_by_its_class(tmp_path):
    code = HEAD + "net = nn.Sequential(nn.Linear(4, 3))\nnet(torch.ones(2, 4))\n"
    path = tmp_path / "program.py"
    path.write_text(code)
    with shapetrace.trace() as t:
        exec(compile(code, str(path), "exec"), {})
    assert found(t.recording, "Sequential.0") == ("nn.Linear(4, 3)", False)
    assert module_path(t.recording, "Sequential.0") == "net[0]"
