import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'own'
CATEGORY = 'silent'
DESCRIPTION = 'Load forecast of households from a window of hours with an LSTM cell written by hand and a read-out of the final state.'


class Cell(nn.Module):
    def __init__(self, i, h):
        super().__init__()
        self.w = nn.Parameter(torch.randn(i + h, 4 * h) * (i + h) ** -0.5)
        self.b = nn.Parameter(torch.zeros(4 * h))

    def forward(self, x, state):
        h, c = state
        i, f, o, g = (torch.cat([x, h], 1) @ self.w + self.b).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class Unroll(nn.Module):
    def __init__(self, i, h):
        super().__init__()
        self.cell, self.h = Cell(i, h), h

    def start(self, n):
        return torch.zeros(n, self.h), torch.zeros(n, self.h)

    def forward(self, x):
        state, outs = self.start(x.size(1)), []
        for row in x:
            state = self.cell(row, state)
            outs.append(state[0])
        return torch.stack(outs)


class Forecaster(nn.Module):
    def __init__(self, feats=5, hidden=16):
        super().__init__()
        self.unroll = Unroll(feats, hidden)
        self.read = nn.Linear(hidden, 1)

    def forward(self, window):
        return self.read(self.unroll(window)[:, -1]).squeeze(1)


def windows(n=48, hours=24, feats=5):
    series = torch.randn(n + hours, feats).cumsum(0) * 0.1
    x = series.unfold(0, hours, 1)[:n].transpose(1, 2)
    return TensorDataset(x, series[hours:, 0])


def build():
    return Forecaster()


def step(model):
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    for x, y in DataLoader(windows(), batch_size=16):
        loss = (model(x) - y).abs().mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
    return (loss).detach()


# windows are (batch, time, feature); the loop runs over the batch, so each sample's state comes from the sample before it
TRUTH = dict(raises=None, at='module:unroll.cell', culprits=['unroll.cell', 'unroll', 'function:unbind', 'function:stack', 'input', 'function:iter', 'function:__iter__', 'function:cat'],
             dim=0, got=16, wanted=24, hint_any=['batch', 'time', 'transpose'])
MENDED = [('self.start(x.size(1))', 'self.start(x.size(0))'), ('for row in x:', 'for row in x.unbind(1):'), ('return torch.stack(outs)', 'return torch.stack(outs, 1)')]
