import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, SOURCE, TARGET, DIM, WORDS = 3, 9, 7, 16, 25


class PositionalEncoding(nn.Module):
    def __init__(self, dim, max_len=50):
        super().__init__()
        position = torch.arange(max_len).unsqueeze(1)
        div = torch.exp(torch.arange(0, dim, 2) * (-4.0 / dim))
        pe = torch.zeros(max_len, dim)
        pe[:, 0::2] = torch.sin(position * div)
        pe[:, 1::2] = torch.cos(position * div)
        self.register_buffer("pe", pe.unsqueeze(0))

    def forward(self, x):
        return x + self.pe[:, : x.size(1)]


class Translator(nn.Module):
    def __init__(self):
        super().__init__()
        self.src_embed = nn.Embedding(WORDS, DIM)
        self.tgt_embed = nn.Embedding(WORDS, DIM)
        self.positions = PositionalEncoding(DIM)
        self.transformer = nn.Transformer(
            d_model=DIM,
            nhead=4,
            num_encoder_layers=1,
            num_decoder_layers=1,
            dim_feedforward=32,
            dropout=0.0,
            batch_first=True,
        )
        self.generator = nn.Linear(DIM, WORDS)

    def forward(self, src, tgt):
        src_padding = src == 0
        tgt_mask = torch.triu(torch.ones(tgt.size(1), tgt.size(1)), 1).bool()
        out = self.transformer(
            self.positions(self.src_embed(src)),
            self.positions(self.tgt_embed(tgt)),
            tgt_mask=tgt_mask,
            src_key_padding_mask=src_padding,
        )
        return self.generator(out)


def build():
    return Translator()


def step(model):
    src = torch.randint(1, WORDS, (BATCH, SOURCE))
    tgt = torch.randint(1, WORDS, (BATCH, TARGET))
    logits = model(src, tgt[:, :-1])
    return F.cross_entropy(logits.transpose(1, 2), tgt[:, 1:])


EQUAL = dict(BATCH=8, SOURCE=8, TARGET=8, DIM=8, WORDS=8)
