import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, NOISE, WIDTH = 6, 20, 8


class Generator(nn.Module):
    def __init__(self, noise, width):
        super().__init__()
        self.project = nn.ConvTranspose2d(noise, width * 2, 4, 1, 0)
        self.norm = nn.BatchNorm2d(width * 2)
        self.up = nn.ConvTranspose2d(width * 2, width, 4, 2, 1)
        self.last = nn.ConvTranspose2d(width, 3, 4, 2, 1)

    def forward(self, z):
        x = F.relu(self.norm(self.project(z)))
        return torch.tanh(self.last(F.relu(self.up(x))))


class Discriminator(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 4, 2, 1)
        self.conv2 = nn.Conv2d(width, width * 2, 4, 2, 1)
        self.score = nn.Conv2d(width * 2, 1, 4)

    def forward(self, x):
        x = F.leaky_relu(self.conv1(x), 0.2)
        x = F.leaky_relu(self.conv2(x), 0.2)
        return self.score(x).view(-1)


def build():
    return nn.ModuleDict(
        {"generator": Generator(NOISE, WIDTH), "discriminator": Discriminator(WIDTH)}
    )


def step(model):
    generator, discriminator = model["generator"], model["discriminator"]
    real = torch.rand(BATCH, 3, 16, 16) * 2 - 1
    fake = generator(torch.randn(BATCH, NOISE, 1, 1))
    ones, zeros = torch.ones(BATCH), torch.zeros(BATCH)
    loss_d = F.binary_cross_entropy_with_logits(discriminator(real), ones)
    loss_d = loss_d + F.binary_cross_entropy_with_logits(
        discriminator(fake.detach()), zeros
    )
    loss_g = F.binary_cross_entropy_with_logits(discriminator(fake), ones)
    return loss_d + loss_g


EQUAL = dict(BATCH=8, NOISE=8, WIDTH=8)
