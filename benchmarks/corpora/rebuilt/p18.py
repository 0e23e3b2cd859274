from types import SimpleNamespace

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/JulesBelveze/time-series-autoencoder/issues/40'
CATEGORY = 'layer'
DESCRIPTION = 'Time series autoencoder with attention: the decoder widens its layers with output_size=10, the history of the target still has one number a step.'

cfg = SimpleNamespace(input_size=5, seq_length=10, output_size=10, hidden_size_encoder=64, hidden_size_decoder=64, denoising=True,
                      directions=1, input_att=True, temporal_att=True, batch_size=16)


class AttnEncoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c, h = c, c.hidden_size_encoder
        self.lstm = nn.LSTMCell(c.input_size, h)
        self.attn = nn.Linear(2 * h + c.seq_length, 1)

    def forward(self, x):
        c, b = self.c, x.size(0)
        if c.denoising and self.training:
            x = x + 0.05 * torch.randn_like(x)
        h, s = x.new_zeros(b, c.hidden_size_encoder), x.new_zeros(b, c.hidden_size_encoder)
        outputs = []
        for t in range(c.seq_length):
            rep = torch.cat((h.unsqueeze(1).expand(-1, c.input_size, -1), s.unsqueeze(1).expand(-1, c.input_size, -1), x.transpose(1, 2)), dim=2)
            weights = F.softmax(self.attn(rep).squeeze(2), dim=1)
            h, s = self.lstm(weights * x[:, t], (h, s))
            outputs.append(h)
        return torch.stack(outputs, 1)


class AttnDecoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c, he, hd, out = c, c.hidden_size_encoder, c.hidden_size_decoder, c.output_size
        self.attn = nn.Sequential(nn.Linear(2 * hd + he, he), nn.Tanh(), nn.Linear(he, 1))
        self.lstm = nn.LSTMCell(out, hd)
        self.fc = nn.Linear(he + out, out)
        self.fc_out = nn.Linear(hd + he, out)

    def forward(self, encoded, y_history):
        c, b = self.c, encoded.size(0)
        h, s = encoded.new_zeros(b, c.hidden_size_decoder), encoded.new_zeros(b, c.hidden_size_decoder)
        for t in range(c.seq_length):
            state = torch.cat((h, s), dim=1).unsqueeze(1).expand(-1, c.seq_length, -1)
            weights = F.softmax(self.attn(torch.cat((state, encoded), dim=2)).squeeze(2), dim=1)
            context = torch.bmm(weights.unsqueeze(1), encoded).squeeze(1)
            y_tilde = self.fc(torch.cat((context, y_history[:, t]), dim=1))
            h, s = self.lstm(y_tilde, (h, s))
        return self.fc_out(torch.cat((h, context), dim=1))


class AutoEncForecast(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.encoder, self.decoder = AttnEncoder(c), AttnDecoder(c)

    def forward(self, features, y_hist):
        return self.decoder(self.encoder(features), y_hist)


class TimeSeriesDataset:
    def __init__(self, c, n=80):
        self.c = c
        self.data = torch.cumsum(torch.randn(n, c.input_size), 0) / 5
        self.target = self.data[:, :1] * 0.5 + 0.1 * torch.randn(n, 1)

    def frame(self, i):
        s, o = self.c.seq_length, self.c.output_size
        return self.data[i:i + s], self.target[i:i + s], self.target[i + s:i + s + o, 0]

    def loader(self):
        return [torch.stack(p) for p in zip(*[self.frame(i) for i in range(self.c.batch_size)])]


def build():
    return AutoEncForecast(cfg)


def step(model):
    feature, y_hist, target = TimeSeriesDataset(cfg).loader()
    output = model(feature, y_hist)
    return F.mse_loss(output, target)


# real fix: the width of the history in that layer, nn.Linear(he + 1, out)
# offending tensor: cat (16, 65), the layer was made for 74
TRUTH = dict(raises='RuntimeError', at='module:decoder.fc', culprits=['decoder.fc', 'function:cat', 'input'], dim=1, got=65, wanted=74,
             hint_any=['65', 'in_features', 'history', 'cat', 'output_size'])
MENDED = [('nn.Linear(he + out, out)', 'nn.Linear(he + 1, out)')]
