import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'own program after https://github.com/lucidrains/byol-pytorch'
CATEGORY = 'correct'
DESCRIPTION = 'BYOL: a target network without gradient follows the online network by a moving average, the loss is symmetric over two views; batch, projection and image side are all 16.'


class Encoder(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
        self.projector = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, dim))

    def forward(self, x):
        return self.projector(self.net(x).mean((-1, -2)))


class BYOL(nn.Module):
    def __init__(self, tau=0.99):
        super().__init__()
        self.online = Encoder()
        self.predictor = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 16))
        self.target = copy.deepcopy(self.online)
        for p in self.target.parameters():
            p.requires_grad_(False)
        self.tau = tau

    @torch.no_grad()
    def update_target(self):
        for p, t in zip(self.online.parameters(), self.target.parameters()):
            t.lerp_(p, 1 - self.tau)
        for b, t in zip(self.online.buffers(), self.target.buffers()):
            t.copy_(b)

    def forward(self, v1, v2):
        p1, p2 = self.predictor(self.online(v1)), self.predictor(self.online(v2))
        with torch.no_grad():
            z1, z2 = self.target(v1), self.target(v2)
        loss = 2 - 2 * F.cosine_similarity(p1, z2, dim=-1) + 2 - 2 * F.cosine_similarity(p2, z1, dim=-1)
        return loss.mean()


def build():
    return BYOL()


def augment(x):
    return x.flip(-1) + 0.1 * torch.randn_like(x)


def step(model):
    optimizer = torch.optim.SGD(list(model.online.parameters()) + list(model.predictor.parameters()), lr=0.05, momentum=0.9)
    for _ in range(2):
        x = torch.randn(16, 3, 16, 16)
        loss = model(augment(x), augment(x))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.update_target()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
