"""Parameters that a module holds beside its layers, and no optimizer does."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace
from tests.checks.test_checks_kinds import findings, silent


class Places(nn.Module):
    """Patches with learned places; batch, places, features and classes of one size."""

    def __init__(self, size=6):
        super().__init__()
        self.patches = nn.Linear(size, size)
        self.places = nn.Parameter(torch.zeros(1, size, size))
        self.scale = nn.Parameter(torch.ones(size))
        self.block = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, size))
        self.head = nn.Linear(size, size)

    def forward(self, x):
        x = self.patches(x) + self.places
        return self.head((self.block(x) * self.scale).mean(1))


class Prompted(nn.Module):
    """Numbers of its own before all layers."""

    def __init__(self, size=6):
        super().__init__()
        self.prompt = nn.Parameter(torch.zeros(size))
        self.body, self.head = nn.Linear(size, size), nn.Linear(size, size)

    def forward(self, x):
        return self.head(self.body(x + self.prompt).relu()).mean(1)


def train(model, held, size=6):
    optimizer = torch.optim.SGD(held, 0.1)
    loss = F.cross_entropy(
        model(torch.randn(size, size, size)), torch.randint(size, (size,))
    )
    loss.backward()
    optimizer.step()


def layers(model):
    """What many loops over modules gather: weights and biases."""
    found = (
        getattr(module, name, None)
        for module in model.modules()
        for name in ("weight", "bias")
    )
    return [one for one in found if isinstance(one, nn.Parameter)]


def test_parameters_beside_the_layers_are_named():
    with pytest.warns(shapetrace.ShapeTraceWarning, match="places.*scale"):
        with shapetrace.trace() as t:
            model = Places()
            train(model, layers(model))
    (found,) = t.findings
    assert found.code == "layer-never-trained"
    assert [one.name for one in found.culprits] == ["Places"]
    assert "places and scale" in found.culprits[0].reason


def test_one_line_gives_the_optimizer_all_of_them():
    with pytest.warns(shapetrace.ShapeTraceWarning):
        with shapetrace.trace() as t:
            model, x = Places(), torch.randn(6, 6, 6)
            optimizer = torch.optim.SGD(layers(model), 0.1)
            F.cross_entropy(model(x), torch.randint(6, (6,))).backward()
            optimizer.step()
    (found,) = t.findings
    group = "[model.places, model.scale]"
    assert found.fixes[0].line.endswith(
        f'optimizer.add_param_group({{"params": {group}}})'
    )


def held_by_all():
    model = Places()
    train(model, model.parameters())


def of_no_gradient():
    model = Places()
    model.places.requires_grad_(False)
    train(model, [*layers(model), model.scale])


def prompt_alone():
    model = Prompted()
    train(model, [model.prompt])


def layers_behind_a_prompt():
    # what stands before all that is trained may be kept as it is
    model = Prompted()
    train(model, layers(model))


def scale_alone():
    model = Places()
    train(model, [model.scale])


LOOK_ALIKES = [
    held_by_all,
    of_no_gradient,
    prompt_alone,
    layers_behind_a_prompt,
    scale_alone,
]


@pytest.mark.parametrize("program", LOOK_ALIKES, ids=lambda program: program.__name__)
def test_training_that_looks_alike(program):
    silent(program)


def test_one_of_two_is_told():
    def program():
        model = Places()
        train(model, [*layers(model), model.places])

    assert findings(program) == [("layer-never-trained", "Places")]
