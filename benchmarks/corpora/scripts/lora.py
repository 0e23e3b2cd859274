import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, FEATURES, HIDDEN, CLASSES, RANK = 7, 18, 26, 5, 4


class LoRALinear(nn.Module):
    def __init__(self, base, rank):
        super().__init__()
        self.base = base
        for p in base.parameters():
            p.requires_grad = False
        self.lora_a = nn.Linear(base.in_features, rank, bias=False)
        self.lora_b = nn.Linear(rank, base.out_features, bias=False)
        self.scale = 2.0 / rank

    def forward(self, x):
        return self.base(x) + self.lora_b(self.lora_a(x)) * self.scale


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = LoRALinear(nn.Linear(FEATURES, HIDDEN), RANK)
        self.fc2 = LoRALinear(nn.Linear(HIDDEN, HIDDEN), RANK)
        self.head = nn.Linear(HIDDEN, CLASSES)

    def forward(self, x):
        x = F.gelu(self.fc1(x))
        x = x + F.gelu(self.fc2(x))
        return self.head(x)


def build():
    return Classifier()


def step(model):
    x, y = torch.randn(BATCH, FEATURES), torch.randint(0, CLASSES, (BATCH,))
    return F.cross_entropy(model(x), y)


EQUAL = dict(BATCH=8, FEATURES=8, HIDDEN=8, CLASSES=8, RANK=8)
