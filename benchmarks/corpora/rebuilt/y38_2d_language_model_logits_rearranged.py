import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/kyegomez/HeptapodLM/issues/7 (a smaller grid and vocabulary)'
CATEGORY = 'loss'
DESCRIPTION = 'Two-dimensional language model: logits (b, h, w, vocab) are permuted with (0, 2, 3, 1) as if they were (b, c, h, w), the vocabulary lands in dimension 2: input [4, 15, 50, 15], target [4, 15, 15].'


class RelPos2D(nn.Module):
    def __init__(self, dim, size):
        super().__init__()
        self.row = nn.Parameter(torch.randn(size, 1, dim) * 0.02)
        self.col = nn.Parameter(torch.randn(1, size, dim) * 0.02)

    def forward(self, x):
        h, w = x.shape[1:3]
        return x + self.row[:h] + self.col[:, :w]


class LocalWindow(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)

    def forward(self, x):
        b, h, w, d = x.shape
        y = self.norm(x).reshape(b * h, w, d)
        mask = torch.triu(torch.ones(w, w, dtype=torch.bool), 1)
        y, _ = self.attn(y, y, y, attn_mask=mask, need_weights=False)
        return x + y.reshape(b, h, w, d)


class NonLinearTransformer(nn.Module):
    def __init__(self, vocab_size, dim, depth, matrix_dim, heads=4):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, dim)
        self.pos = RelPos2D(dim, matrix_dim)
        self.layers = nn.ModuleList([LocalWindow(dim, heads) for _ in range(depth)])
        self.fc = nn.Linear(dim, vocab_size)

    def forward(self, x):
        x = self.pos(self.embedding(x))
        for layer in self.layers:
            x = layer(x)
        return self.fc(x)


class Autoregressive2DWrapper(nn.Module):
    def __init__(self, net, ignore_index=-100):
        super().__init__()
        self.net, self.ignore_index = net, ignore_index

    def forward(self, x):
        x_inp, x_labels = x[:, :-1, :-1], x[:, 1:, 1:]
        logits = self.net(x_inp)
        logits = logits.permute(0, 2, 3, 1)
        return F.cross_entropy(logits, x_labels, ignore_index=self.ignore_index)


def build():
    return Autoregressive2DWrapper(NonLinearTransformer(vocab_size=50, dim=32, depth=2, matrix_dim=16))


def step(model):
    return model(torch.randint(0, 50, (4, 16, 16)))


# real fix: the vocabulary belongs in dimension 1, permute(0, 3, 1, 2)
TRUTH = dict(raises='RuntimeError', at='loss:cross_entropy', culprits=['function:permute'], dim=1, got=15, wanted=50,
             hint_any=['permute', 'transpose', 'class', 'dim 1', 'dimension 1'])
MENDED = [('logits.permute(0, 2, 3, 1)', 'logits.permute(0, 3, 1, 2)')]
