import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://discuss.pytorch.org/t/creating-a-triangular-weight-matrix-with-a-hidden-layer-instead-of-a-fully-connected-one/71427/2'
CATEGORY = 'correct'
DESCRIPTION = 'Heat demand: layers over the 24 hours of a day whose weight matrices are triangular, so that an hour is made from earlier hours only.'


def tril_init(m):
    if isinstance(m, nn.Linear):
        with torch.no_grad():
            m.weight.copy_(torch.tril(m.weight))


def get_zero_grad_hook(mask):
    def hook(grad):
        return grad * mask
    return hook


class HourMixer(nn.Module):
    def __init__(self, hours=24, layers=3):
        super().__init__()
        blocks = []
        for _ in range(layers - 1):
            blocks += [nn.Linear(hours, hours), nn.ReLU()]
        self.net = nn.Sequential(*blocks, nn.Linear(hours, hours))
        self.net.apply(tril_init)
        mask = torch.tril(torch.ones(hours, hours))
        for m in self.net:
            if isinstance(m, nn.Linear):
                m.weight.register_hook(get_zero_grad_hook(mask))

    def forward(self, x):
        return self.net(x)


def days(n, hours=24):
    t = torch.arange(hours + 1).float()
    base = 2 + torch.sin(2 * torch.pi * (t + 24 * torch.rand(n, 1)) / 24)
    demand = base + 0.1 * torch.randn(n, hours + 1)
    return demand[:, :-1], demand[:, 1:]


def build():
    return HourMixer()


def step(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    for _ in range(5):
        x, target = days(24)
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), target)
        loss.backward()
        optimizer.step()
    return loss.detach()


# The weights start triangular and the hook zeroes the other gradients: plain SGD keeps them triangular.
TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
