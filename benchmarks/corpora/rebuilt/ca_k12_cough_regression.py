import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

SOURCE = 'own'
CATEGORY = 'silent'
DESCRIPTION = 'Cough severity from spectrograms with one channel; a loader without drop_last, the last batch is smaller.'


class Coughs(Dataset):
    def __init__(self, n=9):
        self.spec, self.sev = torch.randn(n, 1, 16, 40), torch.rand(n, 1) * 10

    def __len__(self):
        return len(self.sev)

    def __getitem__(self, i):
        return self.spec[i], self.sev[i]


class FrameEncoder(nn.Module):
    def __init__(self, bins=40, dim=16):
        super().__init__()
        self.a, self.b = nn.Linear(bins, 32), nn.Linear(32, dim)

    def forward(self, frames):
        return torch.relu(self.b(torch.relu(self.a(frames))))


class Severity(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.enc = FrameEncoder(dim=dim)
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, 1)

    def forward(self, spec):
        frames = spec.squeeze()
        h = self.enc(frames)
        return self.out(self.norm(h.mean(1)))


def huber(err, delta=1.0):
    a = err.abs()
    return torch.where(a < delta, 0.5 * a * a, delta * (a - 0.5 * delta)).mean()


def run_epoch(model, loader):
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    model.train()
    for spec, sev in loader:
        loss = huber(model(spec) - sev)
        opt.zero_grad()
        loss.backward()
        opt.step()
    return loss


def build():
    return Severity()


def step(model):
    return (run_epoch(model, DataLoader(Coughs(), batch_size=4))).detach()


# with a batch of one, squeeze() drops the batch as well: mean(1) averages features, not frames (both are 16)
TRUTH = dict(raises=None, at='function:squeeze', culprits=['function:squeeze', 'function:mean'], dim=0, got=1, wanted=1,
             hint_any=['squeeze', 'batch'])
MENDED = [('frames = spec.squeeze()', 'frames = spec.squeeze(1)')]
