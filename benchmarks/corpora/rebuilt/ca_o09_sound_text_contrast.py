import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'own'
CATEGORY = 'correct'
DESCRIPTION = 'Contrastive audio-text pre-training with in-batch negatives in both directions; batch and embedding are both 32.'


class Pairs(Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, i):
        n = 4 + i % 9
        ids = torch.zeros(12, dtype=torch.long)
        ids[:n] = torch.randint(1, 200, (n,))
        return torch.randn(20, 50), ids


class Audio(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.a, self.b, self.out = nn.Conv1d(20, 24, 5, stride=2), nn.Conv1d(24, 32, 5, stride=2), nn.Linear(32, dim)

    def forward(self, mel):
        return self.out(F.gelu(self.b(F.gelu(self.a(mel)))).mean(-1))


class Text(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.emb, self.hid, self.out = nn.Embedding(200, 32, padding_idx=0), nn.Linear(32, 32), nn.Linear(32, dim)

    def forward(self, ids):
        keep = (ids > 0).unsqueeze(-1)
        words = F.gelu(self.hid(self.emb(ids))) * keep
        return self.out(words.sum(1) / keep.sum(1))


class Contrast(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.audio, self.text = Audio(dim), Text(dim)
        self.log_scale = nn.Parameter(torch.tensor(2.6))

    def training_step(self, batch):
        mel, ids = batch
        a = F.normalize(self.audio(mel), dim=-1)
        t = F.normalize(self.text(ids), dim=-1)
        sim = self.log_scale.exp().clamp(max=100) * a @ t.T
        own = torch.arange(len(sim))
        return (F.cross_entropy(sim, own) + F.cross_entropy(sim.T, own)) / 2


def build():
    return Contrast()


def step(model):
    opt = torch.optim.AdamW(model.parameters(), lr=5e-4)
    for batch in DataLoader(Pairs(), batch_size=32):
        loss = model.training_step(batch)
        opt.zero_grad()
        loss.backward()
        opt.step()
    return (loss).detach()


# nothing to report
TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
MENDED = []
