import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'own'
CATEGORY = 'silent'
DESCRIPTION = 'Chord roots for 12 beats of a bar from chroma features: one of twelve classes for each beat.'


class Bars(Dataset):
    def __len__(self):
        return 16

    def __getitem__(self, i):
        g = torch.Generator().manual_seed(i)
        return torch.rand(12, 36, generator=g), torch.randint(0, 12, (12,), generator=g)


class Recurrent(nn.Module):
    """A minimal gated unit, both directions."""

    def __init__(self, i, h):
        super().__init__()
        self.gate, self.cand, self.h = nn.Linear(i + h, h), nn.Linear(i + h, h), h

    def forward(self, x):
        s, out = x.new_zeros(x.size(0), self.h), []
        for x_t in x.unbind(1):
            f = torch.sigmoid(self.gate(torch.cat([x_t, s], -1)))
            n = torch.tanh(self.cand(torch.cat([x_t, f * s], -1)))
            s = (1 - f) * s + f * n
            out.append(s)
        return torch.stack(out, 1)


class ChordNet(nn.Module):
    def __init__(self, chroma=36, hidden=20, roots=12):
        super().__init__()
        self.fwd, self.bwd = Recurrent(chroma, hidden), Recurrent(chroma, hidden)
        self.root = nn.Linear(2 * hidden, roots)

    def forward(self, x):
        h = torch.cat([self.fwd(x), self.bwd(x.flip(1)).flip(1)], -1)
        return self.root(h)


def epoch(model, loader, opt):
    total = 0.0
    for x, y in loader:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        total += loss.item()
    return loss


def build():
    return ChordNet()


def step(model):
    opt = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    return (epoch(model, DataLoader(Bars(), batch_size=8), opt)).detach()


# logits are (batch, beat, class); cross_entropy takes dim 1 for the classes, and 12 beats fit 12 classes
TRUTH = dict(raises=None, at='loss:cross_entropy', culprits=['input', 'root', ''], dim=1, got=12, wanted=12,
             hint_any=['class', 'dim 1', 'transpose', 'permute', 'dimension 1', 'flatten'])
MENDED = [('F.cross_entropy(model(x), y)', 'F.cross_entropy(model(x).transpose(1, 2), y)')]
