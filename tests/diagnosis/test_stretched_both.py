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
