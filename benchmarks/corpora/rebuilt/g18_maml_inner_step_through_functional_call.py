import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.func import functional_call

SOURCE = 'own program after https://github.com/dragen1860/MAML-Pytorch'
CATEGORY = 'correct'
DESCRIPTION = 'Second-order MAML for sine waves: the fast weights come from autograd.grad with create_graph, the outer loss is the sum over the tasks, only the start weights are stepped.'


class Regressor(nn.Module):
    def __init__(self, hidden=20):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def forward(self, x):
        return self.net(x)


def sample_task(shots=10):
    amplitude, phase = torch.rand(1) * 4 + 0.1, torch.rand(1) * 3.14
    x = torch.rand(2 * shots, 1) * 10 - 5
    y = amplitude * torch.sin(x + phase)
    return x[:shots], y[:shots], x[shots:], y[shots:]


def adapt(model, x, y, steps=2, inner_lr=0.02):
    fast = dict(model.named_parameters())
    for _ in range(steps):
        loss = F.mse_loss(functional_call(model, fast, (x,)), y)
        grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
        fast = {name: p - inner_lr * g for (name, p), g in zip(fast.items(), grads)}
    return fast


def build():
    return Regressor()


def step(model):
    meta_optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(2):
        outer = 0.0
        for _ in range(4):
            xs, ys, xq, yq = sample_task()
            fast = adapt(model, xs, ys)
            outer = outer + F.mse_loss(functional_call(model, fast, (xq,)), yq)
        meta_optimizer.zero_grad()
        (outer / 4).backward()
        meta_optimizer.step()
    return (outer / 4).detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
