"""MaskedSoftmaxCELoss averages over all steps, padding included, and the sum is
divided by the tokens once more.

https://github.com/d2l-ai/d2l-en/pull/2707
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

B, T, V = 5, 9, 20


def sequence_mask(x, valid_len):
    maxlen = x.size(1)
    return (
        torch.arange(maxlen, dtype=torch.float32)[None, :] < valid_len[:, None]
    ).float()


class Seq2Seq(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.gru = nn.Embedding(V, 12), nn.GRU(12, 16, batch_first=True)
        self.decoder = nn.GRU(12, 16, batch_first=True)
        self.dense = nn.Linear(16, V)

    def forward(self, src, tgt):
        _, state = self.gru(self.embed(src))
        out, _ = self.decoder(self.embed(tgt), state)
        return self.dense(out)


def masked_softmax_ce(pred, label, valid_len):
    weights = sequence_mask(label, valid_len)
    unweighted = F.cross_entropy(pred.permute(0, 2, 1), label, reduction="none")
    return (unweighted * weights).mean(dim=1)


def build():
    return Seq2Seq()


def step(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(2):
        src, tgt, label = (torch.randint(1, V, (B, T)) for _ in range(3))
        valid_len = torch.randint(2, T, (B,))
        optimizer.zero_grad()
        loss = masked_softmax_ce(model(src, tgt), label, valid_len)
        (loss.sum() / valid_len.sum()).backward()
        optimizer.step()


#: the same sizes, equal
COINCIDENT = "B, T, V = 9, 9, 9"
CULPRITS = ["function:div", "function:mean"]
MENDED = [
    (
        "    return (unweighted * weights).mean(dim=1)\n",
        "    return (unweighted * weights).sum(dim=1)\n",
    ),
]
