"""The loss is not told which token is the padding: most of the targets are 0, and it
learns to write padding.

https://github.com/lucidrains/DALLE-pytorch/issues/57
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

B, T, V = 4, 9, 30


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(V, 16, padding_idx=0)
        self.gru, self.out = nn.GRU(16, 16, batch_first=True), nn.Linear(16, V)

    def forward(self, tokens):
        h, _ = self.gru(self.embed(tokens))
        return self.out(h)


def build():
    return Decoder()


def step(model):
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(2):
        lengths = torch.randint(3, T, (B,))
        text = torch.randint(1, V, (B, T)) * (torch.arange(T)[None] < lengths[:, None])
        logits = model(text[:, :-1])
        loss = F.cross_entropy(logits.transpose(1, 2), text[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


#: the same sizes, equal
COINCIDENT = "B, T, V = 9, 9, 9"
CULPRITS = ["function:cross_entropy", "function:getitem", "target"]
MENDED = [
    (
        "        loss = F.cross_entropy(logits.transpose(1, 2), text[:, 1:])\n",
        "        loss = F.cross_entropy(logits.transpose(1, 2), text[:, 1:], ignore_index=0)\n",  # noqa: E501
    ),
]
