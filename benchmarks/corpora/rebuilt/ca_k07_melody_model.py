import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'own'
CATEGORY = 'silent'
DESCRIPTION = 'Autoregressive model of melodies: pre-norm decoder of own make with a causal mask, a Lightning-like class with training_step.'


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.h = heads
        self.n1, self.n2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.to_qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)

    def mix(self, x):
        b, t, d = x.shape
        q, k, v = (u.view(b, t, self.h, -1).transpose(1, 2) for u in self.to_qkv(x).split(d, -1))
        s = q @ k.transpose(-2, -1) / math.sqrt(d // self.h)
        s = s.masked_fill(torch.ones(t, t, dtype=torch.bool).triu(1), float('-inf'))
        return self.proj((s.softmax(-1) @ v).transpose(1, 2).reshape(b, t, d))

    def forward(self, x):
        x = x + self.mix(self.n1(x))
        return x + self.down(F.gelu(self.up(self.n2(x))))


class MelodyModel(nn.Module):
    def __init__(self, notes=90, dim=32, length=40):
        super().__init__()
        self.note = nn.Embedding(notes, dim)
        self.pos = nn.Parameter(torch.randn(1, length, dim) * 0.02)
        self.blocks = nn.Sequential(Block(dim, 4), Block(dim, 4))
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, notes)

    def forward(self, ids):
        x = self.note(ids) + self.pos[:, :ids.size(1)]
        return self.out(self.norm(self.blocks(x)))

    def training_step(self, batch, _):
        logits = self(batch['ids'])
        return F.cross_entropy(logits.flatten(0, 1), batch['labels'].flatten())


def collate(songs):
    ids = torch.stack(songs)
    return dict(ids=ids, labels=ids.clone())


def build():
    return MelodyModel()


def step(model):
    songs = [torch.randint(0, 90, (40,)) for _ in range(8)]
    loader = torch.utils.data.DataLoader(songs, batch_size=4, collate_fn=collate)
    opt = torch.optim.AdamW(model.parameters(), 1e-3)
    for i, batch in enumerate(loader):
        loss = model.training_step(batch, i)
        opt.zero_grad()
        loss.backward()
        opt.step()
    return (loss).detach()


# labels are a copy of the inputs and nobody shifts: position t predicts what it reads
TRUTH = dict(raises=None, at='loss:cross_entropy', culprits=['target', 'input', 'function:clone', 'function:flatten', 'out'], dim=None, got=None, wanted=None,
             hint_any=['shift', 'next', 'one token', '[:, 1:]', 'labels'])
MENDED = [("F.cross_entropy(logits.flatten(0, 1), batch['labels'].flatten())", "F.cross_entropy(logits[:, :-1].flatten(0, 1), batch['labels'][:, 1:].flatten())")]
