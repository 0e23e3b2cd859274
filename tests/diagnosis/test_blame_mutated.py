"""One layer of a sound model gets another size: the rest of the model tells which."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from failures import failure
from torch import nn

import shapetrace


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.query = nn.Linear(32, 32)
        self.key = nn.Linear(32, 32)
        self.value = nn.Linear(32, 32)
        self.out = nn.Linear(32, 32)

    def forward(self, x):
        q, k, v = (
            layer(x).view(*x.shape[:2], -1, 8).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        y = F.scaled_dot_product_attention(q, k, v)
        return self.out(y.transpose(1, 2).flatten(2))


class Dense(nn.Module):
    """Every layer takes all that came before it."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(8 + 4 * i), nn.Conv2d(8 + 4 * i, 4, 1))
            for i in range(4)
        )

    def forward(self, x):
        for layer in self.layers:
            x = torch.cat([x, layer(x)], dim=1)
        return x


class Twins(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Linear(20, 16)
        self.head = nn.Linear(32, 3)

    def forward(self, x):
        return self.head(torch.cat([self.trunk(x), self.trunk(-x)], dim=1))


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(16, 64 * 4 * 4)
        self.up = nn.ConvTranspose2d(64, 32, 4, 2, 1)
        self.norm = nn.BatchNorm2d(32)
        self.last = nn.ConvTranspose2d(32, 3, 4, 2, 1)

    def forward(self, z):
        return self.last(self.norm(self.up(self.fc(z).view(-1, 64, 4, 4))))


class Bottleneck(nn.Module):
    def __init__(self, into, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(into, width, 1)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1)
        self.down = nn.Conv2d(into, width, 1, stride)

    def forward(self, x):
        return self.conv2(self.conv1(x)) + self.down(x)


def stages():
    widths = [(3, 8, 1), (8, 16, 2), (16, 32, 2), (32, 64, 2)]
    return nn.Sequential(*(Bottleneck(*width) for width in widths))


class Gate(nn.Module):
    def __init__(self):
        super().__init__()
        self.reduce = nn.Conv2d(8, 2, 1)
        self.expand = nn.Conv2d(2, 8, 1)

    def forward(self, x):
        return x * self.expand(self.reduce(x.mean((2, 3), keepdim=True))).sigmoid()


class Fire(nn.Module):
    def __init__(self):
        super().__init__()
        self.squeeze = nn.Conv2d(16, 4, 1)
        self.one = nn.Conv2d(4, 10, 1)
        self.three = nn.Conv2d(4, 10, 3, padding=1)

    def forward(self, x):
        x = self.squeeze(x)
        return torch.cat([self.one(x), self.three(x)], dim=1)


BOTH = "32 is a width of `model.up`, `model.last` too, 31 of no other layer"
WAITS = "`model.last`, not reached yet, takes 32"
IMAGES = (2, 3, 16, 16)
MAPS = (2, 8, 8, 8)
CASES = {
    "key": (Attention, (2, 5, 32), nn.Linear(32, 48), "like"),
    "value": (Attention, (2, 5, 32), nn.Linear(32, 16), "like"),
    "layers.1.1": (Dense, MAPS, nn.Conv2d(12, 3, 1), "like"),
    "layers.2.0": (Dense, MAPS, nn.BatchNorm2d(15), "expects num_features=15"),
    "fc": (Generator, (4, 16), nn.Linear(16, 1023), "`model.up` takes the 64"),
    "up": (Generator, (4, 16), nn.ConvTranspose2d(64, 31, 4, 2, 1), WAITS),
    "norm": (Generator, (4, 16), nn.BatchNorm2d(31), BOTH),
    "2.conv1": (stages, IMAGES, nn.Conv2d(16, 32, 1, stride=2), "`model.1.conv1` has"),
    "squeeze": (
        Fire,
        (2, 16, 8, 8),
        nn.Conv2d(16, 5, 1),
        "`model.three`, not reached yet, takes 4",
    ),
}


def failure_with(model, name, layer, shape):
    """The diagnosis of a model in which one layer was exchanged."""
    owner, _, last = name.rpartition(".")
    setattr(model.get_submodule(owner), last, layer)
    return failure(model, torch.ones(shape))


@pytest.mark.parametrize("name", CASES)
def test_the_layer_that_the_rest_speaks_against_is_named_first(name):
    make, shape, layer, evidence = CASES[name]
    found = failure_with(make(), name, layer, shape)
    first = found.culprits[0]
    assert (first.kind, first.name) == ("module", name)
    assert evidence in first.reason


@pytest.mark.parametrize("name", ["key", "value", "layers.1.1", "up", "squeeze"])
def test_the_line_that_builds_it_as_it_was_is_verified(name):
    make, shape, layer, _ = CASES[name]
    sound = make()
    was = sound.get_submodule(name)
    found = failure_with(make(), name, layer, shape)
    words = str(was).partition(",")[2].partition(",")[0].strip().rpartition("=")[2]
    fix = next(fix for fix in found.fixes if f"{words}" in fix.line)
    assert fix.status == "verified"


@pytest.mark.parametrize(
    ("make", "name", "layer", "shape"),
    [
        (Twins, "trunk", nn.Linear(20, 20), (4, 20)),
        (stages, "2.down", nn.Conv2d(16, 32, 1, stride=1), IMAGES),
        (Gate, "expand", nn.Conv2d(2, 8, 1, padding=1), MAPS),
    ],
)
def test_where_nothing_tells_it_is_among_the_three(make, name, layer, shape):
    found = failure_with(make(), name, layer, shape)
    assert name in [culprit.name for culprit in found.culprits]


def test_a_fix_that_fails_in_the_layer_beside_is_not_called_verified():
    found = failure_with(Fire(), "squeeze", nn.Conv2d(16, 5, 1), (2, 16, 8, 8))
    for wider in [fix for fix in found.fixes if "self.one" in fix.line]:
        if "self.three" in wider.line:  # both of them, which goes through
            continue
        assert wider.status == "untried"
        assert "three, not reached yet, takes 4" in wider.detail
    assert found.fixes[0].line.startswith("model.squeeze = nn.Conv2d(16, 4")


def test_a_module_whose_name_is_no_identifier_can_be_pasted():
    model = nn.Sequential(nn.Linear(4, 6))
    # so that the line which builds it is not found
    getattr(model, "add_module")("block-2", nn.Sequential(nn.Linear(5, 2)))
    with pytest.raises(RuntimeError):
        with shapetrace.trace(model) as t:
            model(torch.ones(3, 4))
    line = t.failure.fixes[0].line
    assert line == 'model._modules["block-2"][0] = nn.Linear(6, 2)'
    exec(line, {"model": model, "nn": nn})
    assert model(torch.ones(3, 4)).shape == (3, 2)
