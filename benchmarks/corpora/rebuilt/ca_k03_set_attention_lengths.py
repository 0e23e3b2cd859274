import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'own'
CATEGORY = 'silent'
DESCRIPTION = 'Speech-emotion classifier over frames of different lengths; attention written with einsum, a bias made from the lengths.'


def valid_frames(lengths, t):
    return torch.arange(t)[None, :] < lengths[:, None]


class Attend(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Parameter(torch.randn(3, dim, dim) * dim ** -0.5)
        self.o = nn.Parameter(torch.randn(dim, dim) * dim ** -0.5)

    def forward(self, x, valid):
        b, t, d = x.shape
        q, k, v = torch.einsum('btd,ndo->nbto', x, self.qkv).view(3, b, t, self.heads, d // self.heads).unbind(0)
        score = torch.einsum('bqhc,bkhc->bhqk', q, k) * (d // self.heads) ** -0.5
        bias = torch.zeros(b, 1, t, 1).masked_fill(~valid[:, None, :, None], -1e4)
        att = torch.softmax(score + bias, -1)
        y = torch.einsum('bhqk,bkhc->bqhc', att, v).reshape(b, t, d)
        return y @ self.o


class Emotion(nn.Module):
    def __init__(self, mels=30, dim=32, heads=4, classes=6, layers=2):
        super().__init__()
        self.inp = nn.Linear(mels, dim)
        self.att = nn.ModuleList(Attend(dim, heads) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(layers))
        self.cls = nn.Linear(dim, classes)

    def forward(self, mel, lengths):
        valid = valid_frames(lengths, mel.size(1))
        h = self.inp(mel)
        for att, norm in zip(self.att, self.norms):
            h = h + att(norm(h), valid)
        w = valid.unsqueeze(-1).float()
        return self.cls((h * w).sum(1) / w.sum(1))


def make_batch():
    lengths = torch.tensor([50, 41, 33, 20, 48, 27, 36, 44])
    mels = [torch.randn(n, 30) for n in lengths.tolist()]
    return nn.utils.rnn.pad_sequence(mels, batch_first=True), lengths, torch.randint(0, 6, (8,))


def build():
    return Emotion()


def step(model):
    mel, lengths, y = make_batch()
    return F.cross_entropy(model(mel, lengths), y)


# the bias (8, 1, 50, 1) stands at the queries, it is the same for all keys: the softmax does not see it
TRUTH = dict(raises=None, at='function:add', culprits=['function:add', 'function:masked_fill', 'function:softmax', 'function:unsqueeze', 'function:getitem', 'function:__getitem__'],
             dim=3, got=1, wanted=50, hint_any=['mask', 'key', 'no effect', 'without effect'])
MENDED = [('torch.zeros(b, 1, t, 1).masked_fill(~valid[:, None, :, None], -1e4)', 'torch.zeros(b, 1, 1, t).masked_fill(~valid[:, None, None, :], -1e4)')]
