"""What fits only because each side is stretched to the other is not verified."""

import torch
from failures import failure_of
from torch import nn


class Embedded(nn.Module):
    """Values and marks of a series; the marks go on into the future."""

    def __init__(self):
        super().__init__()
        self.value, self.mark = nn.Conv1d(7, 16, 3, padding=1), nn.Linear(4, 16)

    def forward(self, x, marks):
        return self.value(x.permute(0, 2, 1)).transpose(1, 2) + self.mark(marks)


def test_a_batch_of_one_that_changes_places_with_the_steps_is_no_verified_fix():
    model = Embedded()
    series, marks = torch.randn(1, 8, 7), torch.randn(1, 20, 4)
    found = failure_of(model, lambda: model(series, marks))
    assert not [fix for fix in found.fixes if fix.status == "verified"]


def test_a_state_that_a_layer_takes_as_a_tuple_is_no_container_by_mistake():
    encoder, decoder = (nn.LSTM(n, 6, batch_first=True) for n in (3, 1))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = encoder, decoder

        def forward(self, x, y):
            _, state = self.encoder(x)
            return self.decoder(y[:, -1], state)

    model = Net()
    found = failure_of(model, lambda: model(torch.randn(5, 4, 3), torch.randn(5, 4, 1)))
    assert found.culprits[0].name == "getitem"
    assert "not one tensor" not in str(found)


class Block(nn.Module):
    """A residual block without the projection that other widths need."""

    def __init__(self, into, width):
        super().__init__()
        self.one, self.two = nn.Conv2d(into, width, 1), nn.Conv2d(width, 4 * width, 1)

    def forward(self, x):
        out = self.two(self.one(x).relu())
        out += x
        return out.relu()


def test_what_mixes_samples_and_does_not_even_go_through_is_no_fix():
    model = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), Block(16, 8), Block(32, 8))
    found = failure_of(model, lambda: model(torch.randn(2, 3, 32, 32)))
    assert "flatten(0, 1)" not in str(found)


class Masked(nn.Module):
    """A convolution of an image and one of its mask."""

    def __init__(self):
        super().__init__()
        self.image, self.mask = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3, bias=False)

    def forward(self, x, mask):
        return self.image(x * mask) / self.mask(mask).clamp(min=1)


def test_arguments_that_bear_the_names_of_their_parameters_are_in_their_places():
    model = Masked()
    images, mask = torch.rand(2, 3, 9, 9), torch.ones(2, 1, 9, 9)
    found = failure_of(model, lambda: model(images, mask))
    assert "exchanges the two arguments" not in str(found)


def test_of_data_whose_elements_are_counted_the_shape_is_told():
    model = nn.Sequential(nn.Unflatten(0, (-1, 1)), nn.Conv2d(1, 4, 3))
    images = torch.rand(3, 16, 14, 14)
    found = failure_of(model, lambda: model(images.view(-1, 5, 5)))
    told = [one.reason for one in found.culprits if one.kind == "input"]
    assert told and ("(3, 16, 14, 14)" in told[0] or "14x14 in dims 2 and 3" in told[0])


def test_samples_that_would_meet_another_dimension_are_no_verified_fix(monkeypatch):
    """A mask of so many places as there are heads, and samples: wherever it stands
    among the fixes."""
    monkeypatch.setattr("shapetrace.diagnosis.explain._FIXES", 50)
    attend = nn.Linear(8, 8)

    def step():
        heads = attend(torch.rand(4, 6, 4, 8))
        mask = torch.ones(1, 4, 1)
        return heads.reshape(4, 6, 32) * mask

    found = failure_of(attend, step)
    joined = [fix for fix in found.fixes if "flatten(1)" in fix.line]
    assert joined and all(fix.status == "untried" for fix in joined)
