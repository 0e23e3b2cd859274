"""What the layers inside of torch's own composites are built with stands where those
are built, and holds for all copies."""

import pytest
import torch
from failures import failure, first
from torch import nn


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(8, 5)

    def forward(self, x, padding):
        return self.out(self.encoder(x, src_key_padding_mask=padding))


class Translator(nn.Module):
    def __init__(self):
        super().__init__()
        made = nn.TransformerDecoderLayer(8, 2, 16)
        self.decoder = nn.TransformerDecoder(made, 3)

    def forward(self, y, memory, padding):
        return self.decoder(y, memory, tgt_key_padding_mask=padding)


def test_the_encoder_layer_gets_the_setting_and_not_one_of_its_attentions():
    padding = torch.zeros(3, 7, dtype=torch.bool)
    found = failure(Tagger(), torch.randn(3, 7, 8), padding)
    assert first(found) == ("module", "encoder.layers.0.self_attn")
    line = "layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)"
    assert found.fixes[0].line == line
    assert not any("self_attn = " in fix.line for fix in found.fixes)


def test_the_decoder_layer_gets_it_for_both_of_its_attentions():
    padding = torch.zeros(3, 7, dtype=torch.bool)
    memory = torch.randn(3, 5, 8)
    found = failure(Translator(), torch.randn(3, 7, 8), memory, padding)
    line = "made = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)"
    assert found.fixes[0].line == line


def test_one_layer_mended_of_several_is_not_called_verified():
    model = Tagger()
    padding = torch.zeros(3, 7, dtype=torch.bool)
    found = failure(model, torch.randn(3, 7, 8), padding)
    for fix in found.fixes:
        if fix.status == "verified" and "self_attn" in fix.line:
            exec(fix.line, {"model": model, "nn": nn})
            with pytest.raises(AssertionError):
                model(torch.randn(3, 7, 8), padding)
            raise AssertionError(fix.line)
