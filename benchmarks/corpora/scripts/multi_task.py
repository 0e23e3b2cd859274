import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, FEATURES, HIDDEN, CLASSES, LABELS = 9, 11, 26, 5, 3


class MultiTask(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.LayerNorm(HIDDEN)
        )
        self.heads = nn.ModuleDict(
            {
                "category": nn.Linear(HIDDEN, CLASSES),
                "price": nn.Linear(HIDDEN, 1),
                "labels": nn.Linear(HIDDEN, LABELS),
            }
        )

    def forward(self, x):
        h = self.trunk(x)
        out = {name: head(h) for name, head in self.heads.items()}
        out["price"] = out["price"].squeeze(-1)
        return out


def build():
    return MultiTask()


def step(model):
    x = torch.randn(BATCH, FEATURES)
    category = torch.randint(0, CLASSES, (BATCH,))
    price = torch.rand(BATCH)
    labels = torch.randint(0, 2, (BATCH, LABELS)).float()
    out = model(x)
    loss = F.cross_entropy(out["category"], category)
    loss = loss + 0.5 * F.mse_loss(out["price"], price)
    return loss + F.binary_cross_entropy_with_logits(out["labels"], labels)


EQUAL = dict(BATCH=8, FEATURES=8, HIDDEN=8, CLASSES=8, LABELS=8)
