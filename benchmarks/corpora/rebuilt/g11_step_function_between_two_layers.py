import torch
import torch.nn as nn

SOURCE = 'discuss.pytorch.org, "Circumventing an indifferentiability problem" (soshishimada, 2019-04-04)'
CATEGORY = 'silent'
DESCRIPTION = 'A network with torch.sign in the middle: the gradient behind the step function is zero everywhere, the first layer never moves and the loss does not fall.'


class StepNet(nn.Module):
    def __init__(self, n_in=2, n_hidden=6):
        super().__init__()
        self.fc1 = nn.Linear(n_in, n_hidden, bias=False)
        self.fc2 = nn.Linear(n_hidden, 1)

    def forward(self, x):
        y = self.fc1(x)
        z = torch.sign(y)
        return self.fc2(z)


def make_data(n=32):
    points = torch.rand(n, 2) * 2 - 1
    return points, (points[:, :1] * points[:, 1:] > 0).float()


def build():
    return StepNet()


def step(model, gamma=0.1, iterations=4):
    optimizer = torch.optim.SGD(model.parameters(), lr=gamma)
    x, target = make_data()
    for i in range(iterations):
        optimizer.zero_grad()
        out = model(x)
        loss = (target - out).abs().mean()
        loss.backward()
        optimizer.step()
    return loss.detach()


# the thread hands the gradient of z on to y (a straight-through estimator); the loss falls then
TRUTH = dict(raises=None, at='function:sign', culprits=['function:sign', 'fc1'], dim=None, got=None, wanted=None,
             hint_any=['sign', 'zero gradient', 'gradient', 'straight-through'])
MENDED = [('z = torch.sign(y)', 'z = y + (torch.sign(y) - y).detach()')]
