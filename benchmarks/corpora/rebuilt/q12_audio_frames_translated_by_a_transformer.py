import math

import torch
import torch.nn as nn

SOURCE = 'https://openillumi.com/en/en-pytorch-transformer-multidim-output-same-fix (retells a question on nn.Transformer whose outputs are all alike)'
CATEGORY = 'silent'
DESCRIPTION = 'nn.Transformer on frames of an audio signal: the decoder is given zeros in training in the place of the target shifted by one step, the outputs hardly differ from each other.'


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, dropout=0.1, max_len=100):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        position = torch.arange(max_len).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(1, max_len, d_model)
        pe[0, :, 0::2] = torch.sin(position * div_term)
        pe[0, :, 1::2] = torch.cos(position * div_term)
        self.register_buffer('pe', pe)

    def forward(self, x):
        return self.dropout(x + self.pe[:, :x.size(1)])


class FrameTransformer(nn.Module):
    def __init__(self, features=12, d_model=16, nhead=4):
        super().__init__()
        self.src_in, self.tgt_in = nn.Linear(features, d_model), nn.Linear(features, d_model)
        self.positional_encoder = PositionalEncoding(d_model)
        self.transformer = nn.Transformer(d_model, nhead, num_encoder_layers=1, num_decoder_layers=2,
                                          dim_feedforward=32, dropout=0.1, batch_first=True)
        self.out = nn.Linear(d_model, features)

    def forward(self, src, tgt):
        tgt_mask = nn.Transformer.generate_square_subsequent_mask(tgt.size(1))
        src = self.positional_encoder(self.src_in(src))
        tgt = self.positional_encoder(self.tgt_in(tgt))
        return self.out(self.transformer(src, tgt, tgt_mask=tgt_mask))


def signals(batch, frames, features):
    t = torch.linspace(0, 6, frames).view(1, -1, 1)
    f = torch.rand(batch, 1, features) * 3 + 0.5
    noise = 0.1 * torch.randn(batch, frames, features)
    return torch.sin(f * t) + noise, torch.cos(f * t)


def train_loop(model, opt, loss_fn, batches):
    model.train()
    for x, y in batches:
        decoder_input = torch.zeros_like(y)
        pred = model(x, decoder_input)
        loss = loss_fn(pred, y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    return loss.detach()


def build():
    return FrameTransformer()


def step(model):
    batches = [signals(4, 25, 12) for _ in range(3)]
    opt = torch.optim.SGD(model.parameters(), lr=0.01)
    return train_loop(model, opt, nn.MSELoss(), batches)


# teacher forcing: a start frame and the target without its last frame
TRUTH = dict(raises=None, at='module:transformer', culprits=['function:zeros_like', 'input', 'tgt_in'], dim=None, got=None, wanted=None,
             hint_any=['zero', 'constant', 'shift', 'decoder', 'teacher'])
MENDED = [('decoder_input = torch.zeros_like(y)', 'decoder_input = torch.cat([torch.zeros_like(y[:, :1]), y[:, :-1]], dim=1)')]
