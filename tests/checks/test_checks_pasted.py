"""Whole scripts with the first line of each finding pasted in: they run, and nothing is
found any more."""

from __future__ import annotations

import linecache
import re

import pytest
import torch

import shapetrace

HEAD = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
"""

NET = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(6, 8), nn.Linear(8, 4)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.head(self.drop(F.relu(self.body(x))))

"""

STEPS = """
for _ in range(3):
    loss = F.cross_entropy(net(torch.randn(5, 6)), torch.randint(0, 4, (5,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""

TOKENS = """
class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.rnn = nn.Embedding(20, 8), nn.GRU(8, 8, batch_first=True)
        self.head = nn.Linear(8, 20)

    def forward(self, ids):
        return self.head(self.rnn(self.embed(ids))[0])

net, ids = Reader(), torch.randint(0, 20, (4, 9))
"""

SCRIPTS = {
    "an optimizer of another model": (
        "step-without-effect",
        NET + "net, other = Net(), Net()\n"
        "optimizer = torch.optim.SGD(other.parameters(), lr=0.1)\n" + STEPS,
    ),
    "a layer that no optimizer holds": (
        "layer-never-trained",
        NET + "net = Net()\noptimizer = torch.optim.SGD(net.body.parameters())\n"
        "scaler = torch.amp.GradScaler('cpu', enabled=False)\n"
        + STEPS.replace("optimizer.step()", "scaler.step(optimizer)"),
    ),
    "gradients that nobody clears": (
        "gradients-not-cleared",
        NET
        + "net = Net()\nsgd = torch.optim.SGD(net.parameters(), lr=0.1)\n"
        + STEPS.replace("    optimizer.zero_grad()\n", "").replace("optimizer", "sgd"),
    ),
    "gradients that nobody clears where another function steps": (
        "gradients-not-cleared",
        NET + "net = Net()\noptimizer = torch.optim.SGD(net.parameters(), lr=0.1)\n"
        "def update(opt):\n    opt.step()\n"
        + STEPS.replace("    optimizer.zero_grad()\n", "").replace(
            "optimizer.step()", "update(optimizer)"
        ),
    ),
    "left in evaluation": (
        "trained-in-eval",
        NET
        + "net = Net()\noptimizer = torch.optim.SGD(net.parameters(), lr=0.1)\n"
        + STEPS
        + "    net.eval()\n",
    ),
    "a validation that drops": (
        "validated-in-training",
        NET
        + "net = Net()\noptimizer = torch.optim.SGD(net.parameters(), lr=0.1)\n"
        + STEPS
        + "with torch.no_grad():\n    out = net(torch.randn(5, 6))\n"
        "    F.cross_entropy(out, torch.randint(0, 4, (5,)))\n",
    ),
    "a teacher that drops, in a class": (
        "teacher-drops",
        NET + """
class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.student, self.teacher = nn.Linear(6, 4), Net()
        self.teacher.requires_grad_(False)

    def forward(self, x):
        with torch.no_grad():
            wanted = self.teacher(x)
        return F.mse_loss(self.student(x), wanted)

both = Both()
optimizer = torch.optim.SGD(both.student.parameters(), lr=0.1)
for _ in range(2):
    optimizer.zero_grad()
    both(torch.randn(5, 6)).backward()
    optimizer.step()
""",
    ),
    "labels as they went in, flattened": (
        "label-shift",
        TOKENS + "logits = net(ids)\n"
        "F.cross_entropy(logits.view(-1, 20), ids.view(-1)).backward()\n",
    ),
    "labels as they went in, by a layer": (
        "label-shift",
        TOKENS + "criterion = nn.CrossEntropyLoss()\n"
        "loss = criterion(net(ids).transpose(1, 2), ids)\nloss.backward()\n",
    ),
    "layers of a loop that are all given the same": (
        "unused-output",
        """
class Stack(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))

    def forward(self, x):
        for layer in self.layers:
            out = layer(x)
        return out

Stack()(torch.randn(5, 8)).mean().backward()
""",
    ),
    "the second of two layers that is given what the first was": (
        "unused-output",
        """
class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        h = F.relu(self.fc1(x)) + 1
        return self.fc2(x) + x

Pair()(torch.randn(5, 8)).mean().backward()
""",
    ),
    "two heads with too many classes": (
        "class-count",
        """
class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(6, 8)
        self.head = nn.Linear(8, 5)
        self.aux1 = nn.Linear(8, 100)
        self.aux2 = nn.Linear(8, 100)

    def forward(self, x):
        h = self.body(x)
        return self.head(h), self.aux1(h), self.aux2(h)

y = torch.arange(6) % 5
out, one, two = Heads()(torch.randn(6, 6))
loss = F.cross_entropy(out, y)
loss = loss + 0.3 * F.cross_entropy(one, y) + 0.3 * F.cross_entropy(two, y)
loss.backward()
""",
    ),
    "one score as one class": (
        "softmax-over-one",
        "criterion = nn.CrossEntropyLoss()\nnet = nn.Linear(6, 1)\n"
        "loss = criterion(net(torch.randn(5, 6)), torch.zeros(5, dtype=torch.long))\n"
        "loss.backward()\n",
    ),
    "a vector of scores as one sample": (
        "class-dim",
        "net = nn.Linear(6, 1)\ny = (torch.rand(5) > 0.5).float()\n"
        "F.cross_entropy(net(torch.randn(5, 6)).squeeze(1), y).backward()\n",
    ),
    "a sigmoid for its logarithm": (
        "log-softmax-missing-before-kl-div",
        "net = nn.Linear(6, 4)\np = torch.sigmoid(net(torch.randn(5, 6)))\n"
        "F.kl_div(p, torch.full((5, 4), 0.25), reduction='batchmean').backward()\n",
    ),
    "scores for probabilities": (
        "sigmoid-missing-before-bce",
        "net, criterion = nn.Linear(6, 4), nn.BCELoss()\n"
        "nn.init.zeros_(net.weight), nn.init.constant_(net.bias, 0.5)\n"
        "criterion(net(torch.randn(5, 6)), torch.ones(5, 4)).backward()\n",
    ),
    "a batch tiled beside rows that are repeated": (
        "pairs-apart",
        "net, n = nn.Linear(6, 4), 3\n"
        "given = torch.tile(net(torch.randn(5, 6)), (n, 1))\n"
        "F.mse_loss(given, torch.rand(5, 4).repeat_interleave(n, 0)).backward()\n",
    ),
    "a target for all of the batch": (
        "silent-broadcast",
        "net, y = nn.Linear(6, 4), torch.rand(1, 4)\n"
        "F.mse_loss(net(torch.randn(5, 6)), y).backward()\n",
    ),
    "dropout that does not know the mode": (
        "dropout-in-eval",
        """
class Drops(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 4)

    def forward(net, x):
        return F.dropout(net.fc(x), 0.1)

Drops().eval()(torch.randn(5, 6))
""",
    ),
    "one column for two": (
        "silent-broadcast",
        """
def corners(box, n):
    found = torch.zeros(box.size(0), 4)
    found[:, :2] = box[:, 2] / n - 0.5 * box[:, 2:4]
    found[:, 2:4] = box[:, 2] / n + 0.5 * box[:, 2:4]
    return found

corners(nn.Linear(6, 4)(torch.randn(2, 6)), 7).mean().backward()
""",
    ),
    "kernels that compete over the batch": (
        "softmax-over-batch",
        """
convs = nn.ModuleList(nn.Conv2d(3, 8, k, padding=k // 2) for k in (1, 3, 5))
x = torch.randn(4, 3, 6, 6)
maps = torch.stack([conv(x) for conv in convs])
weights = maps.mean((3, 4), keepdim=True).softmax(1)
out = nn.Linear(8, 4)((weights * maps).sum(0).mean((2, 3)))
F.cross_entropy(out, torch.arange(4)).backward()
""",
    ),
}


def run(text):
    """The alarms of a script, which is loaded anew."""
    name = f"<script {len(linecache.cache)}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    with shapetrace.trace() as t:
        exec(compile(text, name, "exec"), {"__name__": name})
    return [found for found in t.findings if found.severity != "note"]


def pasted(text, fix):
    lines = text.split("\n")
    first, last = fix.where.line - 1, fix.where.end_line or fix.where.line
    margin = re.match(" *", lines[first])[0]
    new = [margin + line for line in fix.line.split("\n")]
    return "\n".join([*lines[:first], *new, *lines[last:]])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_first_line_of_a_finding_mends_the_script(name):
    code, text = SCRIPTS[name]
    found = run(HEAD + text)
    assert {one.code for one in found} == {code}
    assert found[0].fixes
    assert run(pasted(HEAD + text, found[0].fixes[0])) == []


WORDS = {
    "numbers in the place of a loss": (
        "dead-loss",
        "net = nn.Linear(6, 4)\n"
        "loss = F.mse_loss(net(torch.randn(5, 6)), torch.rand(5, 4))\n"
        "torch.tensor(loss.item(), requires_grad=True).backward()\n",
        "make the loss of what the model returns",
    ),
    "gradients of a step by a name that is not known": (
        "layer-never-trained",
        NET + "net = Net()\nkept = {}\n"
        "kept['sgd'] = torch.optim.SGD(net.body.parameters())\n"
        + STEPS.replace("optimizer", "kept['sgd']"),
        "give the optimizer net.head.parameters() as well",
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", WORDS)
def test_where_no_line_can_be_written_words_say_what_to_do(name):
    code, text, words = WORDS[name]
    (found,) = run(HEAD + text)
    assert (found.code, found.fixes) == (code, ())
    assert f"What to do: {words}" in " ".join(str(found).split())


def test_what_a_mask_has_picked_of_places_and_classes_is_no_other_dimension():
    conv, y = torch.nn.Conv2d(3, 4, 1), torch.randint(0, 4, (2, 5, 5))
    with shapetrace.trace() as t:
        scores = conv(torch.randn(2, 3, 5, 5)).log_softmax(1)
        scores = scores.transpose(1, 2).transpose(2, 3).contiguous()
        kept = scores[y.view(2, 5, 5, 1).repeat(1, 1, 1, 4) >= 0].view(-1, 4)
        torch.nn.functional.nll_loss(kept, y[y >= 0]).backward()
    assert t.findings == ()
