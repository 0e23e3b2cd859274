import torch
import torch.nn as nn

SOURCE = 'https://github.com/facebookresearch/barlowtwins/blob/main/main.py'
CATEGORY = 'correct'
DESCRIPTION = 'Barlow Twins: BatchNorm without affine normalizes each feature over the batch, and the (D, D) cross-correlation is the loss; D == B here.'


def off_diagonal(x):
    n, m = x.shape
    assert n == m
    return x.flatten()[:-1].view(n - 1, n + 1)[:, 1:].flatten()


class BarlowTwins(nn.Module):
    def __init__(self, projector='24-24-16', lambd=0.0051, batch_size=16):
        super().__init__()
        self.lambd, self.batch_size = lambd, batch_size
        self.backbone = nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        sizes = [12] + list(map(int, projector.split('-')))
        layers = []
        for i in range(len(sizes) - 2):
            layers.append(nn.Linear(sizes[i], sizes[i + 1], bias=False))
            layers.append(nn.BatchNorm1d(sizes[i + 1]))
            layers.append(nn.ReLU(inplace=True))
        layers.append(nn.Linear(sizes[-2], sizes[-1], bias=False))
        self.projector = nn.Sequential(*layers)
        self.bn = nn.BatchNorm1d(sizes[-1], affine=False)

    def forward(self, y1, y2):
        z1 = self.projector(self.backbone(y1))
        z2 = self.projector(self.backbone(y2))
        # empirical cross-correlation matrix
        c = self.bn(z1).T @ self.bn(z2)
        c.div_(self.batch_size)
        on_diag = torch.diagonal(c).add_(-1).pow_(2).sum()
        off_diag = off_diagonal(c).pow_(2).sum()
        return on_diag + self.lambd * off_diag


def exclude_bias_and_norm(p):
    return p.ndim == 1


def build():
    return BarlowTwins()


def step(model):
    param_weights, param_biases = [], []
    for param in model.parameters():
        (param_biases if exclude_bias_and_norm(param) else param_weights).append(param)
    optimizer = torch.optim.SGD([{'params': param_weights, 'weight_decay': 1e-6}, {'params': param_biases}], lr=0.1, momentum=0.9)
    images = torch.rand(16, 3, 12, 12)
    y1, y2 = images + 0.1 * torch.randn_like(images), images.flip(-1) * 0.9
    optimizer.zero_grad()
    loss = model(y1, y2)
    loss.backward()
    optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
