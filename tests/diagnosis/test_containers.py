"""A tuple that a layer is to be given, and one that was given whole by mistake."""

import torch
from failures import Runs, failure, first
from torch import nn


def decoded(self, tokens):
    _, state = self.encoder(self.embed(tokens))
    out, _ = self.decoder(self.embed(tokens[0].unsqueeze(0)), state)
    return out


def test_a_state_in_a_tuple_is_meant_and_its_sizes_are_told():
    model = Runs(
        decoded,
        embed=nn.Embedding(30, 6),
        encoder=nn.LSTM(6, 10),
        decoder=nn.LSTM(6, 10, batch_first=True),
    )
    found = failure(model, torch.randint(0, 30, (7, 16)))
    assert "container" not in found.message
    assert "dim 1 of `input[1]` is 16" in found.message
    assert first(found) == ("module", "decoder")


def handed_on_whole(self, x):
    return self.second(self.first(x))


def test_what_a_layer_returns_is_handed_on_whole():
    model = Runs(handed_on_whole, first=nn.LSTM(6, 10), second=nn.LSTM(10, 10))
    found = failure(model, torch.randn(7, 4, 6))
    assert "it was given a container" in found.message
