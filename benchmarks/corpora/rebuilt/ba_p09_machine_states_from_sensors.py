import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = ('https://github.com/maxjcohen/transformer/issues/60 (data (64, 55, 20), three classes: expected target size (64, 3), got [64]; issue 57 there: '
          'the model gives one output a time step)')
CATEGORY = 'loss'
DESCRIPTION = ('A sequence-to-sequence transformer for time series is used as a classifier: it still returns the three class scores for every time step, '
               'the labels are one a series.')


def generate_original_PE(length, d_model):
    pe = torch.zeros(length, d_model)
    pos = torch.arange(length).unsqueeze(1)
    div = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
    pe[:, 0::2] = torch.sin(pos * div)
    pe[:, 1::2] = torch.cos(pos * div)
    return pe


class MultiHeadAttention(nn.Module):
    def __init__(self, d_model, q, v, h, attention_size=None):
        super().__init__()
        self._h, self._attention_size = h, attention_size
        self._W_q, self._W_k = nn.Linear(d_model, q * h), nn.Linear(d_model, q * h)
        self._W_v, self._W_o = nn.Linear(d_model, v * h), nn.Linear(v * h, d_model)

    def forward(self, query, key, value, mask=None):
        K = query.shape[1]
        queries = torch.cat(self._W_q(query).chunk(self._h, dim=-1), dim=0)
        keys = torch.cat(self._W_k(key).chunk(self._h, dim=-1), dim=0)
        values = torch.cat(self._W_v(value).chunk(self._h, dim=-1), dim=0)
        scores = torch.bmm(queries, keys.transpose(1, 2)) / math.sqrt(K)
        if self._attention_size is not None:
            near = (torch.arange(K).unsqueeze(0) - torch.arange(K).unsqueeze(1)).abs() > self._attention_size
            scores = scores.masked_fill(near, float('-inf'))
        if mask == 'subsequent':
            scores = scores.masked_fill(torch.triu(torch.ones(K, K), diagonal=1).bool(), float('-inf'))
        attention = torch.bmm(F.softmax(scores, dim=-1), values)
        return self._W_o(torch.cat(attention.chunk(self._h, dim=0), dim=-1))


class PositionwiseFeedForward(nn.Module):
    def __init__(self, d_model, d_ff=64):
        super().__init__()
        self._linear1, self._linear2 = nn.Linear(d_model, d_ff), nn.Linear(d_ff, d_model)

    def forward(self, x):
        return self._linear2(F.relu(self._linear1(x)))


class Encoder(nn.Module):
    def __init__(self, d_model, q, v, h, attention_size, dropout):
        super().__init__()
        self._selfAttention = MultiHeadAttention(d_model, q, v, h, attention_size)
        self._feedForward = PositionwiseFeedForward(d_model)
        self._layerNorm1, self._layerNorm2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self._dropout = nn.Dropout(dropout)

    def forward(self, x):
        x = self._layerNorm1(x + self._dropout(self._selfAttention(x, x, x)))
        return self._layerNorm2(x + self._dropout(self._feedForward(x)))


class Decoder(nn.Module):
    def __init__(self, d_model, q, v, h, attention_size, dropout):
        super().__init__()
        self._selfAttention = MultiHeadAttention(d_model, q, v, h, attention_size)
        self._encoderDecoderAttention = MultiHeadAttention(d_model, q, v, h, attention_size)
        self._feedForward = PositionwiseFeedForward(d_model)
        self._layerNorm1, self._layerNorm2, self._layerNorm3 = (nn.LayerNorm(d_model) for _ in range(3))
        self._dropout = nn.Dropout(dropout)

    def forward(self, x, memory):
        x = self._layerNorm1(x + self._dropout(self._selfAttention(x, x, x, mask='subsequent')))
        x = self._layerNorm2(x + self._dropout(self._encoderDecoderAttention(x, memory, memory)))
        return self._layerNorm3(x + self._dropout(self._feedForward(x)))


class Transformer(nn.Module):
    def __init__(self, d_input, d_model, d_output, q, v, h, N, attention_size=None, dropout=0.1):
        super().__init__()
        self._d_model = d_model
        self.layers_encoding = nn.ModuleList([Encoder(d_model, q, v, h, attention_size, dropout) for _ in range(N)])
        self.layers_decoding = nn.ModuleList([Decoder(d_model, q, v, h, attention_size, dropout) for _ in range(N)])
        self._embedding = nn.Linear(d_input, d_model)
        self._linear = nn.Linear(d_model, d_output)

    def forward(self, x):
        pe = generate_original_PE(x.shape[1], self._d_model).to(x.device)
        encoding = self._embedding(x) + pe
        for layer in self.layers_encoding:
            encoding = layer(encoding)
        decoding = encoding + pe
        for layer in self.layers_decoding:
            decoding = layer(decoding, encoding)

        # Output module
        output = self._linear(decoding)
        return output


class SensorDataset(torch.utils.data.Dataset):
    def __init__(self, series=40, steps=20, channels=20, states=3):
        self.x = torch.randn(series, steps, channels)
        self.labels = torch.arange(series) % states

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.labels[i]


def build():
    torch.manual_seed(0)
    return Transformer(d_input=20, d_model=32, d_output=3, q=8, v=8, h=4, N=2, attention_size=12)


def step(model):
    x, labels = next(iter(torch.utils.data.DataLoader(SensorDataset(), batch_size=20, shuffle=True)))
    netout = model(x)
    return F.cross_entropy(netout, labels)


# the model is made for one output a time step; for one class a series the time axis has to go before (or behind) the output layer
TRUTH = dict(raises='RuntimeError', at='loss:cross_entropy', culprits=['_linear', ''], dim=1, got=20, wanted=3,
             hint_any=['time', 'step', 'pool', 'mean', 'last', 'sequence', 'axis'])
MENDED = [('output = self._linear(decoding)', 'output = self._linear(decoding.mean(1))')]
