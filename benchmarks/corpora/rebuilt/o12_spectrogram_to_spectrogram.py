import math

import torch
import torch.nn as nn

SOURCE = 'https://openillumi.com/en/en-pytorch-transformer-non-ar-seq2seq-mask-guide (retells a question from Stack Overflow)'
CATEGORY = 'silent'
DESCRIPTION = 'A noisy spectrogram is turned into a clean one of the same size by a transformer encoder.'


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, max_len=500):
        super().__init__()
        pe = torch.zeros(max_len, d_model)
        position = torch.arange(0, max_len, dtype=torch.float).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2).float() * (-math.log(10000.0) / d_model))
        pe[:, 0::2] = torch.sin(position * div_term)
        pe[:, 1::2] = torch.cos(position * div_term)
        self.register_buffer('pe', pe.unsqueeze(1))

    def forward(self, x):
        return x + self.pe[:x.size(0)]


class TransformerReconstruct(nn.Module):
    def __init__(self, feature_size=40, num_layers=2, dropout=0.1, nhead=10, output_dim=40):
        super().__init__()
        self.src_mask = None
        self.pos_encoder = PositionalEncoding(feature_size)
        encoder_layer = nn.TransformerEncoderLayer(d_model=feature_size, nhead=nhead, dim_feedforward=80, dropout=dropout)
        self.transformer_encoder = nn.TransformerEncoder(encoder_layer, num_layers=num_layers)
        self.decoder = nn.Linear(feature_size, output_dim)
        self.init_weights()

    def init_weights(self):
        initrange = 0.1
        self.decoder.bias.data.zero_()
        self.decoder.weight.data.uniform_(-initrange, initrange)

    def forward(self, src):
        if self.src_mask is None or self.src_mask.size(0) != len(src):
            self.src_mask = self._generate_square_subsequent_mask(len(src)).to(src.device)
        src = self.pos_encoder(src)
        output = self.transformer_encoder(src, self.src_mask)
        return self.decoder(output)

    def _generate_square_subsequent_mask(self, sz):
        mask = (torch.triu(torch.ones(sz, sz)) == 1).transpose(0, 1)
        return mask.float().masked_fill(mask == 0, float('-inf')).masked_fill(mask == 1, float(0.0))


def spectrograms(batch, frames=30, bins=40):
    pitch = torch.randint(4, 20, (1, batch, 1)).float()
    time = torch.linspace(0, 3, frames).view(frames, 1, 1)
    freq = torch.arange(bins).view(1, 1, bins)
    clean = torch.exp(-0.1 * (freq - pitch - 5 * torch.sin(time)) ** 2)
    return clean + 0.3 * torch.rand(frames, batch, bins), clean


def build():
    return TransformerReconstruct()


def step(model):
    noisy, clean = spectrograms(6)
    model.train()
    return nn.functional.mse_loss(model(noisy), clean)


# The causal mask of a language model was left in: no frame sees the frames behind it, in a task that gives all of them.
# real fix: no mask in forward
TRUTH = dict(raises=None, at='module:transformer_encoder', culprits=['transformer_encoder', 'function:triu', 'function:masked_fill'],
             dim=None, got=None, wanted=None, hint_any=['mask', 'causal', 'future', 'autoregressive', 'triu', 'bidirectional'])
MENDED = [('self.transformer_encoder(src, self.src_mask)', 'self.transformer_encoder(src)')]
