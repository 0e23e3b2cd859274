import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/AdaptiveMotorControlLab/CEBRA/issues/48 (fixed in pull 86)'
CATEGORY = 'silent'
DESCRIPTION = 'Row maxima c (n,) are subtracted from neg_dist (n, n) without a keepdim: they go to the columns, logsumexp is no longer the same.'


class Norm(nn.Module):
    def forward(self, inp):
        return inp / torch.norm(inp, dim=1, keepdim=True)


class Skip(nn.Module):
    def __init__(self, *modules, crop=(1, 1)):
        super().__init__()
        self.module = nn.Sequential(*modules)
        self.crop = slice(crop[0], -crop[1])

    def forward(self, inp):
        return self.module(inp) + inp[..., self.crop]


class Offset10Model(nn.Module):
    def __init__(self, num_neurons, num_units, num_output):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(num_neurons, num_units, 2), nn.GELU(),
            Skip(nn.Conv1d(num_units, num_units, 3), nn.GELU()),
            Skip(nn.Conv1d(num_units, num_units, 3), nn.GELU()),
            Skip(nn.Conv1d(num_units, num_units, 3), nn.GELU()),
            nn.Conv1d(num_units, num_output, 3), Norm(), nn.Flatten())

    def forward(self, inp):
        return self.net(inp)


def infonce(pos_dist, neg_dist):
    with torch.no_grad():
        c, _ = neg_dist.max(dim=1)
    c = c.detach()
    pos_dist = pos_dist - c
    neg_dist = neg_dist - c
    align = (-pos_dist).mean()
    uniform = torch.logsumexp(neg_dist, dim=1).mean()
    return align + uniform, align, uniform


class FixedCosineInfoNCE(nn.Module):
    def __init__(self, temperature=0.1):
        super().__init__()
        self.temperature = temperature

    def forward(self, ref, pos, neg):
        pos_dist = torch.einsum('ni,ni->n', ref, pos) / self.temperature
        neg_dist = torch.einsum('ni,mi->nm', ref, neg) / self.temperature
        return infonce(pos_dist, neg_dist)


class TimeContrastiveLoader:
    def __init__(self, neural, batch_size, time_offset=3, window=10):
        self.neural, self.batch_size, self.time_offset, self.window = neural, batch_size, time_offset, window

    def windows(self, index):
        return torch.stack([self.neural[i:i + self.window].T for i in index.tolist()])

    def sample(self):
        last = len(self.neural) - self.window - self.time_offset
        reference = torch.randint(0, last, (self.batch_size,))
        negative = torch.randint(0, last, (self.batch_size,))
        return self.windows(reference), self.windows(reference + self.time_offset), self.windows(negative)


def build():
    return Offset10Model(12, 16, 8)


def step(model):
    reference, positive, negative = TimeContrastiveLoader(torch.randn(200, 12).cumsum(0), batch_size=24).sample()
    loss, align, uniform = FixedCosineInfoNCE()(model(reference), model(positive), model(negative))
    return loss


# real fix: c, _ = neg_dist.max(dim=1, keepdim=True); pos_dist - c.squeeze(1)
TRUTH = dict(raises=None, at='function:sub', culprits=['function:max', 'function:sub'], dim=None, got=24, wanted=None,
             hint_any=['keepdim', 'unsqueeze', 'broadcast', 'column', 'row', '[:, none]'])
MENDED = [('neg_dist = neg_dist - c', 'neg_dist = neg_dist - c[:, None]')]
