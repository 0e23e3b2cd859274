"""The validation runs without eval(): dropout drops, and the loss that is reported is
random.

https://github.com/Zhenye-Na/DA-RNN/issues/30
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

B, T, D = 6, 9, 12


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.drop = nn.LSTM(5, D, batch_first=True), nn.Dropout(0.3)
        self.out = nn.Linear(D, 4)

    def forward(self, x):
        h, _ = self.lstm(x)
        return self.out(self.drop(h[:, -1]))


def build():
    return Encoder()


def validate(model):
    correct = 0
    with torch.no_grad():
        x, y = torch.randn(B, T, 5), torch.randint(0, 4, (B,))
        logits = model(x)
        loss = F.cross_entropy(logits, y)
        correct += (logits.argmax(1) == y).sum().item()
    return loss.item(), correct


def step(model):
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(2):
        x, y = torch.randn(B, T, 5), torch.randint(0, 4, (B,))
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        validate(model)


#: the same sizes, equal
COINCIDENT = "B, T, D = 12, 12, 12"
CULPRITS = ["", "drop", "function:cross_entropy", "function:dropout"]
MENDED = [
    ("    correct = 0\n", ("    correct = 0\n" "    model.eval()\n")),
    (
        "    for _ in range(2):\n",
        ("    for _ in range(2):\n" "        model.train()\n"),
    ),
]
