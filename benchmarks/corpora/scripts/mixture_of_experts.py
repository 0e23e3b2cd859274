import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, LENGTH, DIM, EXPERTS, CLASSES = 3, 7, 12, 4, 6


class MoE(nn.Module):
    def __init__(self, dim, experts):
        super().__init__()
        self.gate = nn.Linear(dim, experts)
        self.experts = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Linear(dim, dim * 2), nn.ReLU(), nn.Linear(dim * 2, dim)
                )
                for _ in range(experts)
            ]
        )

    def forward(self, x):
        weights, chosen = torch.softmax(self.gate(x), dim=-1).topk(2, dim=-1)
        weights = weights / weights.sum(dim=-1, keepdim=True)
        out = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            share = (weights * (chosen == i)).sum(dim=-1, keepdim=True)
            out = out + share * expert(x)
        return out


class MoEClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.inp = nn.Linear(5, DIM)
        self.norm = nn.LayerNorm(DIM)
        self.moe = MoE(DIM, EXPERTS)
        self.fc = nn.Linear(DIM, CLASSES)

    def forward(self, x):
        x = self.inp(x)
        x = x + self.moe(self.norm(x))
        return self.fc(x.mean(dim=1))


def build():
    return MoEClassifier()


def step(model):
    x = torch.randn(BATCH, LENGTH, 5)
    y = torch.randint(0, CLASSES, (BATCH,))
    return nn.NLLLoss()(F.log_softmax(model(x), dim=1), y)


EQUAL = dict(BATCH=8, LENGTH=8, DIM=8, EXPERTS=8, CLASSES=8)
