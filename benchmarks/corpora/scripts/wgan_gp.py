import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, NOISE, HIDDEN, DATA = 6, 9, 22, 4


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(DATA, HIDDEN)
        self.fc2 = nn.Linear(HIDDEN, 1)

    def forward(self, x):
        return self.fc2(F.leaky_relu(self.fc1(x), 0.2)).squeeze(1)


def gradient_penalty(critic, real, fake):
    alpha = torch.rand(real.size(0), 1)
    mixed = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
    scores = critic(mixed)
    (grads,) = torch.autograd.grad(
        outputs=scores,
        inputs=mixed,
        grad_outputs=torch.ones_like(scores),
        create_graph=True,
    )
    norms = grads.view(grads.size(0), -1).norm(2, dim=1)
    return ((norms - 1) ** 2).mean()


def build():
    generator = nn.Sequential(
        nn.Linear(NOISE, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, DATA)
    )
    return nn.ModuleDict({"generator": generator, "critic": Critic()})


def step(model):
    critic = model["critic"]
    real = torch.randn(BATCH, DATA)
    with torch.no_grad():
        fake = model["generator"](torch.randn(BATCH, NOISE))
    wasserstein = critic(fake).mean() - critic(real).mean()
    return wasserstein + 10 * gradient_penalty(critic, real, fake)


EQUAL = dict(BATCH=8, NOISE=8, HIDDEN=8, DATA=8)
