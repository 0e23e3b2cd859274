"""The convolutions for several window sizes stand in a list: they are no parameters.

https://github.com/pytorch/pytorch/issues/1053
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

B, T, V = 4, 12, 40


class TextCnn(nn.Module):
    def __init__(self, width=8, filters=6):
        super().__init__()
        self.embed = nn.Embedding(V, width)
        self.conv1d = [
            nn.Conv1d(width, filters, 3),
            nn.Conv1d(width, filters, 4),
            nn.Conv1d(width, filters, 5),
        ]
        self.fc = nn.Linear(3 * filters, 2)

    def forward(self, tokens):
        x = self.embed(tokens).transpose(1, 2)
        pooled = [F.relu(conv(x)).max(dim=2)[0] for conv in self.conv1d]
        return self.fc(torch.cat(pooled, dim=1))


def build():
    return TextCnn()


def step(model):
    optimizer = torch.optim.Adam(model.parameters())
    loss = F.cross_entropy(
        model(torch.randint(0, V, (B, T))), torch.randint(0, 2, (B,))
    )
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


#: the same sizes, equal
COINCIDENT = "B, T, V = 12, 12, 12"
CULPRITS = ["", "Conv1d", "TextCnn", "conv1d", "function:conv1d"]
MENDED = [
    (
        (
            "        self.conv1d = [\n"
            "            nn.Conv1d(width, filters, 3),\n"
            "            nn.Conv1d(width, filters, 4),\n"
            "            nn.Conv1d(width, filters, 5),\n"
            "        ]\n"
        ),
        (
            "        self.conv1d = nn.ModuleList(\n"
            "            [\n"
            "                nn.Conv1d(width, filters, 3),\n"
            "                nn.Conv1d(width, filters, 4),\n"
            "                nn.Conv1d(width, filters, 5),\n"
            "            ]\n"
            "        )\n"
        ),
    ),
]
