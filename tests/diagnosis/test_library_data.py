"""Data that a function of torch's makes by several calls of its own, and names that a
line has several times."""

import runpy

import pytest
import torch
from failures import failure_of
from torch import nn
from torch.distributions import Beta, Normal
from torch.nn import functional as F


def net(channels, classes):
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, 2, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, classes),
    )


def mixed_up(model, lam):
    """Two images in one, and the losses in proportion."""
    x, y = torch.randn(16, 3, 24, 24), torch.randint(0, 5, (16,))
    perm = torch.randperm(16)
    mixed = lam * x + (1 - lam) * x[perm]
    made = model(mixed)
    each = F.cross_entropy(made, y, reduction="none")
    other = F.cross_entropy(made, y[perm], reduction="none")
    return (lam * each + (1 - lam) * other).mean()


SPREAD = "lam[..., None, None, None]"


@pytest.mark.parametrize("sample", [lambda: torch.rand(16), lambda: halves()])
def test_a_weight_a_sample_is_spread_wherever_the_line_names_it(sample):
    model = net(3, 5)
    found = failure_of(model, lambda: mixed_up(model, sample()))
    assert found.culprits[0].kind == "input"
    lines = {fix.line: fix.status for fix in found.fixes}
    # the lines behind take it as it is: the name stays what it was
    assert f"mixed = {SPREAD} * x + (1 - {SPREAD}) * x[perm]" in lines
    for line, status in lines.items():
        assert not line.startswith("lam = ") or status != "verified"


def halves():
    lam = Beta(1.0, 1.0).sample((16,))
    return lam


def test_a_sample_is_named_by_what_the_line_calls():
    model = net(3, 5)

    def step():
        noise = Normal(0.0, 1.0).sample((16,))
        return model(torch.randn(16, 3, 24, 24) * noise)

    found = failure_of(model, step)
    assert found.culprits[0].name.startswith("input made by sample at")
    told = [(culprit.kind, culprit.name) for culprit in found.culprits]
    assert not any("expand" in name or "Normal" in name for _, name in told)
    assert found.operands[1].origin.startswith("made by sample")
    # the line's argument says how many, not one of a function within
    assert found.fixes[0].line.endswith("* noise[..., None, None, None])")


def test_a_sample_around_what_the_model_made_is_no_data():
    model = nn.Linear(6, 5)

    def step():
        drawn = Normal(model(torch.randn(4, 6)), 1.0).rsample()
        return drawn * torch.ones(4, 7)

    found = failure_of(model, step)
    assert not any("made by rsample" in one.name for one in found.culprits)


SCRIPT = """
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace

model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
with shapetrace.trace(model) as t:
    x, y = torch.randn(16, 3, 24, 24), torch.randint(0, 5, (16,))
    lam = torch.distributions.Beta(1.0, 1.0).sample((16,))
    mixed = lam * x + (1 - lam) * x.flip(0)
    loss = (lam * F.cross_entropy(model(mixed), y, reduction="none")).mean()
    loss.backward()
"""


def test_what_follows_a_model_that_was_not_called_yet_is_read(tmp_path):
    """The trace names the model, and the lines behind say what the weight is."""
    path = tmp_path / "mixup.py"
    path.write_text(SCRIPT)
    with pytest.raises(RuntimeError) as raised:
        runpy.run_path(str(path))
    said = "".join(raised.value.__notes__)
    fixed = f"    mixed = {SPREAD} * x + (1 - {SPREAD}) * x.flip(0)\n"
    old = SCRIPT.splitlines(keepends=True)[11]
    assert "Fix (verified), line 12" in said
    assert f"+ {fixed.strip()}" in said
    # spread where it is made, it would meet each loss with each other's
    assert "Or (verified), line 11" not in said
    path.write_text(SCRIPT.replace(old, fixed))
    runpy.run_path(str(path))


LIBRARY = """
import torch
from torch import nn


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 8)

    def forward(self, ids=None, embeds=None):
        if (ids is None) ^ (embeds is not None):
            raise ValueError("exactly one of ids or embeds")
        return self.embed(ids).mean(1)


class Classifier(nn.Module):
    def __init__(self, labels):
        super().__init__()
        self.encoder = Encoder()
        self.head = nn.Linear(8, labels)

    def forward(self, ids=None, embeds=None, labels=None):
        logits = self.head(self.encoder(ids, embeds))
        return nn.functional.binary_cross_entropy_with_logits(logits, labels)


def moved(batch):
    return {name: value.to("cpu", copy=True) for name, value in batch.items()}
"""
USER = """
import json

import torch

import shapetrace
from somelib.net import Classifier, moved  # noqa: F401

model = Classifier(5)


class Reviews(torch.utils.data.Dataset):
    def __getitem__(self, at):
        return {"ids": torch.randint(0, 20, (6,)), "labels": torch.ones(3)}


one = Reviews()[0]
fields = json.loads('["ids", "labels"]')
batch = {name: torch.stack([one[name]] * 4) for name in fields}
del one, fields
with shapetrace.trace(model) as t:
    model(**moved(batch))
"""


@pytest.fixture(params=["moved(batch)", "batch"])
def inside_a_library(request, tmp_path, monkeypatch):
    """What is said of a failure in an installed package, with the user's own data."""
    package = tmp_path / "site-packages" / "somelib"
    package.mkdir(parents=True)
    (package / "net.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(str(package.parent))
    path = tmp_path / "train.py"
    path.write_text(USER.replace("moved(batch)", request.param))
    with pytest.raises(ValueError) as raised:
        runpy.run_path(str(path))
    return "".join(raised.value.__notes__)


def test_a_place_in_a_library_is_called_that(inside_a_library):
    assert "net.py:25 in Classifier.forward (somelib)\n" in inside_a_library


def test_data_that_a_library_moved_is_not_the_librarys(inside_a_library):
    row = next(line for line in inside_a_library.splitlines() if "  target" in line)
    assert row.endswith("that came in from outside the trace")


def test_keywords_of_a_dict_that_is_not_known_are_not_taken_for_missing(
    inside_a_library,
):
    assert "raises" not in inside_a_library and "(moved)" not in inside_a_library
