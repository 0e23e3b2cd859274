"""What is marked verified is pasted, and the program then really runs to its end."""

import runpy
import warnings

import pytest
import torch
from failures import considered
from rounds_programs import PROGRAMS, sized
from test_fixes import load

import shapetrace

BOTH = pytest.mark.parametrize("distinct", [True, False], ids=["distinct", "equal"])

#: with all sizes equal the tensors broadcast
SILENT = (
    "one-hot labels against probabilities, in two statements",
    "a weight for each sample that is used in two statements",
    "a gain and a shift for each channel in one statement",
)


def pasted(code, fix):
    """The program with the lines of the fix in place of those that it names."""
    if fix.where is None:
        return code.replace("def step(model):\n", f"def step(model):\n    {fix.line}\n")
    lines = code.split("\n")
    first, last = fix.where.line, fix.where.end_line or fix.where.line
    indent = lines[first - 1][: -len(lines[first - 1].lstrip())]
    new = [indent + part for part in fix.line.split("\n")]
    return "\n".join([*lines[: first - 1], *new, *lines[last:]])


def explained(code, path):
    program = load(code, path)
    torch.manual_seed(0)
    model = program.build()
    with warnings.catch_warnings(), pytest.raises(Exception):
        warnings.simplefilter("ignore")
        with shapetrace.trace(model) as t:
            program.step(model).backward()
    return t.failure.fixes


def trains(code, path):
    """One step with its backward."""
    program = load(code, path)
    torch.manual_seed(0)
    loss = program.step(program.build())
    loss.backward()
    return bool(torch.isfinite(loss))


#: with all sizes equal what fits takes samples for channels, and trains nonsense
NONSENSE = ("a loop over convolutions that are given another layout",)


@BOTH
@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.filterwarnings("ignore")
def test_every_verified_fix_runs(name, distinct, tmp_path):
    if name in SILENT and not distinct:
        pytest.skip("no crash")
    code, right, slip = PROGRAMS[name]
    broken = sized(code.replace(right, slip), distinct)
    fixes = explained(broken, tmp_path / "program.py")
    sure = [fix for fix in fixes if fix.status == "verified"]
    if name in NONSENSE and not distinct:
        assert fixes and not sure
        return
    assert sure, [(fix.line, fix.status) for fix in fixes]
    for number, fix in enumerate(sure):
        path = tmp_path / f"mended{number}.py"
        assert trains(pasted(broken, fix), path), fix.line


@BOTH
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_correct_program_is_not_spoken_of(name, distinct, tmp_path):
    program = load(sized(PROGRAMS[name][0], distinct), tmp_path / "program.py")
    model = program.build()
    with shapetrace.trace(model) as t:
        program.step(model).backward()
    assert [f for f in t.findings if f.severity != "note"] == []


def test_an_edit_is_made_for_its_like_in_the_statement(tmp_path):
    code, right, slip = PROGRAMS["a gain and a shift for each channel in one statement"]
    fix = explained(sized(code.replace(right, slip), True), tmp_path / "program.py")[0]
    assert fix.line.count("[..., None, None]") == 2
    assert fix.status == "verified" and "its like in the line" in fix.detail


#: what has the shape of the gain is given to a layer, and stays as it is
GIVEN = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, H, 1)
        self.style = nn.Linear(A, H)

    def forward(self, x, code):
        gain, hidden = self.style(code), torch.rand(B, H)
        maps = self.conv(x)
        return maps * gain + F.linear(hidden, torch.rand(H, H))


def build():
    return Net()


def step(model):
    return model(torch.rand(B, 3, W, W), torch.rand(B, A)).square().mean()
"""


def test_its_like_is_left_alone_where_that_does_not_help(tmp_path):
    program = load(sized(GIVEN, True), tmp_path / "program.py")
    model = program.build()
    lines = [
        one.hypothesis.line for one in considered(model, lambda: program.step(model))
    ]
    assert any("gain[" in line for line in lines)
    assert not any("hidden[" in line for line in lines)


LOOP = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(8, 16)
        self.fc2 = nn.Linear(12, 3)

    def forward(self, x):
        return self.fc2(self.fc1(x).relu())


net = Net()
for epoch in range(2):
    x, y = torch.randn(4, 8), torch.randint(0, 3, (4,))
    loss = nn.functional.cross_entropy(net(x), y)
    loss.backward()
"""


ONE_LINE = LOOP[: LOOP.index("net =")] + "Net()(torch.randn(4, 8)).sum().backward()\n"


#: the next batch is not known, and what is done with it went well with this one
LOADER = LOOP[: LOOP.index("net =")] + """\
data = torch.utils.data.TensorDataset(torch.randn(8, 8), torch.randint(0, 3, (8,)))
loader = torch.utils.data.DataLoader(data, batch_size=4)
device = "cuda" if torch.cuda.is_available() else "cpu"
net = Net().to(device)
criterion = nn.CrossEntropyLoss()


def train(epochs):
    for epoch in range(epochs):
        total = 0.0
        for x, y in loader:
            x, y = x.to(device), y.to(device)
            loss = criterion(net(x), y)
            loss.backward()
            total += loss.item() * x.size(0)
        print(epoch, total / len(loader.dataset))


train(2)
"""


@pytest.mark.parametrize("code", [LOOP, ONE_LINE, LOADER])
def test_a_script_is_read_where_no_model_was_named(code, tmp_path):
    path = tmp_path / "train.py"
    path.write_text(code)
    with pytest.raises(RuntimeError), shapetrace.trace() as t:
        runpy.run_path(str(path))
    fix = t.failure.fixes[0]
    assert (fix.line, fix.status) == ("self.fc2 = nn.Linear(16, 3)", "verified")
    path.write_text(pasted(code, fix))
    runpy.run_path(str(path))


LAYERS = """\
import torch
from torch import nn


def layers():
    return [getattr(nn, "Linear")(*sizes) for sizes in ((8, 16), (12, 4), (16, 2))]


x = torch.randn(4, 8)
for layer in layers():
    x = layer(x)
"""


def test_a_loop_over_layers_that_never_ran_is_not_the_next_batch(tmp_path):
    path = tmp_path / "train.py"
    path.write_text(LAYERS)
    with pytest.raises(RuntimeError), shapetrace.trace() as t:
        runpy.run_path(str(path))
    assert {fix.status for fix in t.failure.fixes} <= {"untried", "moved"}
