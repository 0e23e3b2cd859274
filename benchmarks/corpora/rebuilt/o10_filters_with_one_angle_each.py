import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://discuss.pytorch.org/t/what-is-the-most-convenient-way-to-make-model-weights-dependent-on-some-parameter/47645'
CATEGORY = 'silent'
DESCRIPTION = 'Texture classifier whose filters are a function of a few numbers u: w = sin(u) / |u|; u and the last layer are to be optimised.'


class GeneratedWeights(nn.Module):
    """weights w = g(u) of one layer"""

    def __init__(self, shape, rank=6):
        super().__init__()
        self.shape = shape
        numel = 1
        for s in shape:
            numel *= s
        self.u = nn.Parameter(torch.randn(rank))
        self.register_buffer('basis', torch.randn(rank, numel) / rank ** 0.5)

    def forward(self):
        w = torch.sin(self.u) / self.u.norm()
        return (w @ self.basis).view(self.shape)


class TextureNet(nn.Module):
    def __init__(self, classes=6):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 5, padding=2)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.fc = nn.Linear(16, classes)
        self.weights1 = GeneratedWeights(self.conv1.weight.shape)
        self.weights2 = GeneratedWeights(self.conv2.weight.shape)

    def set_weights(self):
        self.conv1.weight = nn.Parameter(self.weights1())
        self.conv2.weight = nn.Parameter(self.weights2())

    def forward(self, x):
        self.set_weights()
        x = F.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = F.max_pool2d(torch.relu(self.conv2(x)), 2)
        return self.fc(x.mean(dim=(2, 3)))


def textures(n, size=16):
    label = torch.randint(0, 6, (n,))
    grid = torch.arange(size).float()
    wave = torch.sin(grid.view(1, 1, 1, size) * (label.view(n, 1, 1, 1) + 1) * 0.4)
    return wave.expand(n, 1, size, size) + 0.1 * torch.randn(n, 1, size, size), label


def build():
    return TextureNet()


def step(model):
    generated = [model.weights1.u, model.weights2.u]
    optimizer = torch.optim.SGD(generated + list(model.fc.parameters()), lr=0.5)
    for _ in range(3):
        images, labels = textures(12)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
    return loss.detach()


# nn.Parameter(...) makes a new leaf and forgets how w was computed: u never gets a gradient and never moves.
# the thread's way: functional calls with the computed weights, no nn.Parameter
TRUTH = dict(raises=None, at='module:conv1', culprits=['conv1', 'conv2', 'weights1', 'weights2'], dim=None, got=None, wanted=None,
             hint_any=['gradient', 'nn.parameter', 'leaf', 'graph', 'functional', 'history'])
MENDED = [('        self.set_weights()\n        x = F.max_pool2d(torch.relu(self.conv1(x)), 2)\n        x = F.max_pool2d(torch.relu(self.conv2(x)), 2)\n',
           '        x = F.max_pool2d(torch.relu(F.conv2d(x, self.weights1(), self.conv1.bias, padding=2)), 2)\n'
           '        x = F.max_pool2d(torch.relu(F.conv2d(x, self.weights2(), self.conv2.bias, padding=1)), 2)\n')]
