"""y.view(8, 512, 3) stands where a transpose was meant, around the attention.

https://github.com/rish-16/tokenlearner-pytorch/issues/1
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

B, N, D = 3, 8, 12


class TokenLearner(nn.Module):
    def __init__(self, tokens):
        super().__init__()
        self.maps = nn.Conv2d(D, tokens, 1)

    def forward(self, x):
        weights = torch.sigmoid(self.maps(x)).flatten(2)
        return torch.einsum("bsp,bcp->bsc", weights, x.flatten(2)) / weights.size(2)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, D, 3, padding=1)
        self.learner = TokenLearner(N)
        self.mhsa, self.out = nn.MultiheadAttention(D, 3), nn.Linear(D, 10)

    def forward(self, x):
        y = self.learner(F.relu(self.stem(x)))
        batch, tokens, width = y.shape
        y = y.view(tokens, batch, width)
        y, _ = self.mhsa(y, y, y)
        y = y.view(batch, tokens, width)
        return self.out(y.mean(1))


def build():
    return Net()


def step(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = F.cross_entropy(model(torch.rand(B, 3, 6, 6)), torch.randint(0, 10, (B,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


#: the same sizes, equal
COINCIDENT = "B, N, D = 12, 12, 12"
CULPRITS = ["", "function:view", "mhsa"]
MENDED = [
    ("        y = y.view(tokens, batch, width)\n", "        y = y.transpose(0, 1)\n"),
    ("        y = y.view(batch, tokens, width)\n", "        y = y.transpose(0, 1)\n"),
]
