"""The lines that findings propose are pasted where they say, and mend the program."""

from __future__ import annotations

import importlib.util
import itertools
import re

import pytest
import torch
from torch.nn import functional as F

import shapetrace
from tests.checks.test_checks_optimizers import Net, parameters, step

HEAD = """
import torch
import torch.nn.functional as F
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        {made}

    def forward(self, x):
        {forward}


def step(model):
    {step}
"""

PROGRAMS = {
    "a focal weight of the mean, by a loss that the trace has not met": (
        "self.fc = nn.Linear(6, 4)",
        "return self.fc(x)",
        "loss = nn.CrossEntropyLoss()\n    y = torch.arange(5) % 4\n"
        "    ce = loss(model(torch.randn(5, 6)), y)\n"
        "    return ((1 - torch.exp(-ce)) ** 2 * ce).mean()",
    ),
    "a column against a row": (
        "self.fc = nn.Linear(6, 1)",
        "return self.fc(x)",
        "return nn.MSELoss()(model(torch.randn(5, 6)), torch.randn(5))",
    ),
    "a column against a row, by hand": (
        "self.fc = nn.Linear(6, 1)",
        "return self.fc(x)",
        "return ((model(torch.randn(5, 6)) - torch.randn(5)) ** 2).mean()",
    ),
    "one output for two targets": (
        "self.fc = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 1))",
        "return self.fc(x)",
        "return F.l1_loss(model(torch.randn(5, 6)), torch.randn(5, 2))",
    ),
    "weights of the samples along the features": (
        "self.fc = nn.Linear(6, 5)",
        "return self.fc(x) * x.norm(dim=1)",
        "return model(torch.randn(5, 6)).square().mean()",
    ),
    "softmax as a layer": (
        "self.fc = nn.Linear(6, 4)\n        self.act = nn.Softmax(dim=1)",
        "return self.act(self.fc(x))",
        "return F.cross_entropy(model(torch.randn(5, 6)), torch.arange(5) % 4)",
    ),
    "softmax as the last of a Sequential": (
        "self.net = nn.Sequential(nn.Linear(6, 4), nn.Softmax(dim=1))",
        "return self.net(x)",
        "return F.cross_entropy(model(torch.randn(5, 6)), torch.arange(5) % 4)",
    ),
    "softmax as a function": (
        "self.fc = nn.Linear(6, 4)",
        "return F.softmax(self.fc(x), dim=1)",
        "return F.cross_entropy(model(torch.randn(5, 6)), torch.arange(5) % 4)",
    ),
    "softmax of a sum": (
        "self.fc = nn.Linear(6, 4)",
        "return torch.softmax(self.fc(x) + self.fc(-x), dim=1)",
        "return F.cross_entropy(model(torch.randn(5, 6)), torch.arange(5) % 4)",
    ),
    "no logarithm": (
        "self.fc = nn.Linear(6, 4)",
        "return self.fc(x)",
        "return F.nll_loss(model(torch.randn(5, 6)), torch.arange(5) % 4)",
    ),
    "softmax instead of its logarithm": (
        "self.fc = nn.Linear(6, 4)\n        self.act = nn.Softmax(dim=1)",
        "return self.act(self.fc(x))",
        "return F.nll_loss(model(torch.randn(5, 6)), torch.arange(5) % 4)",
    ),
    "sigmoid twice": (
        "self.fc = nn.Linear(6, 4)",
        "return self.fc(x).sigmoid()",
        "return F.binary_cross_entropy_with_logits("
        "model(torch.randn(5, 6)), torch.rand(5, 4))",
    ),
    "classes last": (
        "self.fc = nn.Linear(6, 7)",
        "return self.fc(x)",
        "return F.cross_entropy(model(torch.randn(5, 7, 6)), torch.zeros(5, 7).long())",
    ),
    "one-hot classes last": (
        "self.conv = nn.Conv2d(3, 7, 1)",
        "return self.conv(x)",
        "y = F.one_hot(torch.ones(2, 7, 7).long(), 7).float(); "
        "return F.cross_entropy(model(torch.randn(2, 3, 7, 7)), y)",
    ),
    "time first": (
        "self.rnn = nn.GRU(6, 4)\n        self.fc = nn.Linear(4, 3)",
        "return self.fc(self.rnn(x)[0][:, -1])",
        "return F.cross_entropy(model(torch.randn(5, 7, 6)), torch.arange(5) % 3)",
    ),
    "a view for a permute, to a dimension of one": (
        "self.conv, self.fc = nn.Conv2d(2, 8, 3, padding=1), nn.Linear(48, 4)",
        "b, _, t, _ = x.shape\n"
        "        y = self.conv(x).view(b, -1, t, 1).squeeze(3).transpose(1, 2)\n"
        "        return self.fc(y)",
        "return F.mse_loss(model(torch.randn(3, 2, 5, 6)), torch.randn(3, 5, 4))",
    ),
    "a view for a permute": (
        "self.conv = nn.Conv2d(3, 4, 3)",
        "return self.conv(x.view(2, 3, 8, 6)).mean((2, 3))",
        "return F.mse_loss(model(torch.randn(2, 8, 6, 3)), torch.rand(2, 4))",
    ),
    "softmax over the batch": (
        "self.score, self.fc = nn.Linear(6, 1), nn.Linear(6, 3)",
        "return self.fc((self.score(x).softmax(0) * x).sum(1))",
        "return F.cross_entropy(model(torch.randn(5, 7, 6)), torch.arange(5) % 3)",
    ),
    "softmax over the queries": (
        "self.q, self.k = nn.Linear(6, 6), nn.Linear(6, 6)\n"
        "        self.act = nn.Softmax(1)",
        "return (self.act(self.q(x) @ self.k(x).mT) @ x).mean(1)",
        "return F.mse_loss(model(torch.randn(5, 7, 6)), torch.rand(5, 6))",
    ),
    "a detached term": (
        "self.fc = nn.Linear(6, 3)",
        "return self.fc(x)",
        "out = model(torch.randn(5, 6)); "
        "return out.mean() + F.mse_loss(out.detach(), torch.rand(5, 3))",
    ),
    "lengths over the batch": (
        "self.fc = nn.Linear(6, 4)",
        "return F.normalize(self.fc(x), dim=0)",
        "z = model(torch.randn(5, 6)); "
        "return F.cross_entropy(z @ z.T, torch.arange(5))",
    ),
    "a mask of the queries": (
        "self.q, self.k = nn.Linear(6, 6), nn.Linear(6, 6)",
        "pad = torch.zeros(5, 7, 1).bool(); "
        "s = (self.q(x) @ self.k(x).mT).masked_fill(pad, -1e9); "
        "return (s.softmax(-1) @ x).mean(1)",
        "return F.mse_loss(model(torch.randn(5, 7, 6)), torch.rand(5, 6))",
    ),
    "weights on the mean of the batch": (
        "self.fc = nn.Linear(6, 4)",
        "return self.fc(x)",
        "return (F.cross_entropy(model(torch.randn(5, 6)), torch.arange(5) % 4) "
        "* torch.rand(5)).mean()",
    ),
    "the whole beside each row": (
        "self.fc = nn.Linear(6, 4)",
        "return self.fc(x.repeat(3, 1))",
        "y = torch.rand(5, 4).repeat_interleave(3, 0); "
        "return F.mse_loss(model(torch.randn(5, 6)), y)",
    ),
    "probabilities that others take as well": (
        "self.fc = nn.Linear(6, 4)",
        "return self.fc(x)",
        "z, y = model(torch.randn(5, 6)), torch.rand(5, 4); p = z.sigmoid(); "
        "bce = F.binary_cross_entropy_with_logits(p, y, reduction='none'); "
        "return ((1 - p) ** 2 * bce).mean()",
    ),
    "a column that two stretch": (
        "self.fc = nn.Linear(6, 1)",
        "return self.fc(x).exp()",
        "r = model(torch.randn(5, 6)); w = torch.rand(5); "
        "return -torch.min(r * w, r * (w + 1)).mean()",
    ),
    "a vector that meets columns in two places": (
        "self.fc = nn.Linear(6, 1)",
        "return self.fc(x)[:, 0]",
        "v = model(torch.randn(5, 6)); y = torch.rand(5, 1); old = torch.rand(5, 1); "
        "near = old + (v - old).clamp(-0.2, 0.2); "
        "return torch.max((y - v) ** 2, (y - near) ** 2).mean()",
    ),
    "a vector that was squeezed": (
        "self.fc = nn.Linear(6, 1)",
        "return self.fc(x).squeeze(-1)",
        "return F.mse_loss(model(torch.randn(5, 6)), torch.rand(5, 1))",
    ),
}
NUMBERS = itertools.count()


def run(path):
    """The alarms of a program, which is loaded anew."""
    spec = importlib.util.spec_from_file_location(f"pasted{next(NUMBERS)}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    model = module.Model()
    with shapetrace.trace(model) as t:
        module.step(model).backward()
    return [found for found in t.findings if found.severity != "note"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_proposed_line_mends_its_program(name, tmp_path):
    made, forward, step = PROGRAMS[name]
    code = HEAD.format(made=made, forward=forward, step=step).splitlines()
    path = tmp_path / "program.py"
    path.write_text("\n".join(code))
    (found,) = run(path)
    assert found.fixes
    for number, fix in enumerate(found.fixes):
        assert fix.where is not None and fix.where.file == str(path)
        line = fix.where.line - 1
        margin = re.match(" *", code[line])[0]
        again = tmp_path / f"pasted{number}.py"
        pasted = [*code[:line], margin + fix.line, *code[line + 1 :]]
        again.write_text("\n".join(pasted))
        assert run(again) == [], fix.line


@pytest.mark.filterwarnings("ignore")
def test_a_tensor_that_is_no_target_is_called_as_it_is_written(tmp_path):
    made, forward, step = PROGRAMS["a vector that meets columns in two places"]
    path = tmp_path / "program.py"
    path.write_text(HEAD.format(made=made, forward=forward, step=step))
    (found,) = run(path)
    assert {operand.label for operand in found.operands} == {"old", "v"}
    assert "the tensor `old` has shape (5, 1)" in str(found)


def trained(net, optimizer):
    """The findings of one step, whose optimizer no line of the file builds alone."""
    with pytest.warns(shapetrace.ShapeTraceWarning), shapetrace.trace() as t:
        step(optimizer, F.cross_entropy(net(torch.randn(8, 8)), torch.randint(8, (8,))))
    return t.findings


def test_its_words_name_the_layer_as_the_script_does():
    net = Net()
    held = parameters(net.one, net.two, net.norm)
    (found,) = trained(net, torch.optim.SGD(held))
    assert "gives net.head a gradient" in found.message
    assert "What to do: give the optimizer net.head.parameters() as well." in str(found)
    assert found.fixes == ()


def test_an_optimizer_of_another_model_is_told_of_the_one_that_is_trained():
    net, other = Net(), Net()
    (found,) = trained(net, torch.optim.SGD(other.parameters()))
    assert "What to do: build the optimizer with net.parameters()" in str(found)
    assert found.fixes == ()
