import torch
import torch.nn as nn

SOURCE = 'https://newbedev.com/how-does-pytorch-backprop-through-argmax (a question from Stack Overflow with its answers)'
CATEGORY = 'correct'
DESCRIPTION = 'A palette of colours for photographs is learned with autograd: k-means whose centroids are a parameter, with warm start on pixels.'


class Palette(nn.Module):
    def __init__(self, k=8, channels=3):
        super().__init__()
        self.centroids = nn.Parameter(torch.rand(k, channels))

    @torch.no_grad()
    def warm_start(self, pixels):
        chosen = torch.randperm(pixels.size(0))[:self.centroids.size(0)]
        self.centroids.copy_(pixels[chosen])

    def assign(self, pixels):
        distances = (pixels.unsqueeze(1) - self.centroids.unsqueeze(0)).pow(2).sum(dim=2)
        return torch.argmin(distances, dim=1)

    def forward(self, pixels):
        index = self.assign(pixels)
        return self.centroids[index]


def photographs(n, size=8):
    base = torch.rand(n, 3, 1, 1)
    return (base + 0.2 * torch.randn(n, 3, size, size)).clamp(0, 1)


def fit(model, images, steps=4, lr=1.0):
    pixels = images.permute(0, 2, 3, 1).reshape(-1, 3)
    model.warm_start(pixels)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        quantized = model(pixels)
        loss = (pixels - quantized).pow(2).sum(dim=1).mean()
        loss.backward()
        optimizer.step()
    return loss


def build():
    return Palette()


def step(model):
    return fit(model, photographs(8)).detach()


# argmin has no gradient, but for a given assignment the loss is differentiable in the centroids: the usual k-means update.
TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
