import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader

SOURCE = 'own'
CATEGORY = 'correct'
DESCRIPTION = 'Text classifier with padding: a mask broadcast over heads and queries, masked mean; batch, length and width are all 16.'


def collate(items):
    ids = nn.utils.rnn.pad_sequence([a for a, _ in items], batch_first=True)
    return ids, torch.stack([b for _, b in items])


class Attention(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(d, d) for _ in range(4))
        self.h = heads

    def split(self, x):
        return x.view(x.size(0), x.size(1), self.h, -1).transpose(1, 2)

    def forward(self, x, keep):
        q, k, v = self.split(self.q(x)), self.split(self.k(x)), self.split(self.v(x))
        s = torch.einsum('bhqd,bhkd->bhqk', q, k) / q.size(-1) ** 0.5
        s = s.masked_fill(~keep[:, None, None, :], float('-inf'))
        y = torch.einsum('bhqk,bhkd->bqhd', s.softmax(-1), v)
        return self.o(y.flatten(2))


class Reader(nn.Module):
    def __init__(self, vocab=70, d=16, classes=3):
        super().__init__()
        self.emb, self.pos = nn.Embedding(vocab, d, padding_idx=0), nn.Parameter(torch.randn(16, d) * 0.02)
        self.att = nn.ModuleList(Attention(d, 2) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(d) for _ in range(2))
        self.cls = nn.Linear(d, classes)

    def forward(self, ids):
        keep = ids != 0
        x = self.emb(ids) + self.pos[:ids.size(1)]
        for att, norm in zip(self.att, self.norms):
            x = x + att(norm(x), keep)
        w = keep.float().unsqueeze(-1)
        return self.cls((x * w).sum(1) / w.sum(1))


def build():
    return Reader()


def step(model):
    sizes = [16, 9, 12, 5, 16, 7, 11, 14, 6, 8, 10, 13, 15, 16, 4, 12]
    items = [(torch.randint(1, 70, (n,)), torch.randint(0, 3, ())) for n in sizes]
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for ids, y in DataLoader(items, batch_size=16, collate_fn=collate):
        loss = F.cross_entropy(model(ids), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    return (loss).detach()


# nothing to report
TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
MENDED = []
