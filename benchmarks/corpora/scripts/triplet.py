import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, SIZE, WIDTH, EMBED = 6, 16, 8, 10


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, WIDTH, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(WIDTH, WIDTH * 2, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
        )
        self.fc = nn.Linear(WIDTH * 2, EMBED)

    def forward(self, x):
        x = self.features(x)
        x = x.view(x.size(0), -1)
        return F.normalize(self.fc(x), dim=1)


def build():
    return Encoder()


def step(model):
    anchor = torch.rand(BATCH, 3, SIZE, SIZE)
    positive = anchor + 0.1 * torch.randn(BATCH, 3, SIZE, SIZE)
    negative = torch.rand(BATCH, 3, SIZE, SIZE)
    a, p, n = model(anchor), model(positive), model(negative)
    close = (a - p).pow(2).sum(dim=1)
    far = (a - n).pow(2).sum(dim=1)
    return F.relu(close - far + 0.5).mean()


EQUAL = dict(BATCH=8, SIZE=8, WIDTH=8, EMBED=8)
