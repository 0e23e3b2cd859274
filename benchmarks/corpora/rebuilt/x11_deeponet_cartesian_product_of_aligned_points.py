import math

import torch
import torch.nn as nn

SOURCE = 'https://github.com/lululxvi/deepxde/issues/979'
CATEGORY = 'silent'
DESCRIPTION = 'DeepONet: row i of the data is one function with its own point, but branch and trunk are merged as a cartesian product; (16,16) meets targets (16,1).'

config = dict(m=20, dim_x=1, width=16, batch=16)


class FNN(nn.Module):
    def __init__(self, layer_sizes, activation=torch.tanh):
        super().__init__()
        self.activation = activation
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in zip(layer_sizes, layer_sizes[1:]))
        for linear in self.linears:
            nn.init.xavier_normal_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, x):
        for linear in self.linears[:-1]:
            x = self.activation(linear(x))
        return self.linears[-1](x)


class DeepONet(nn.Module):
    def __init__(self, layer_sizes_branch, layer_sizes_trunk):
        super().__init__()
        self.activation_trunk = torch.tanh
        self.branch = FNN(layer_sizes_branch)
        self.trunk = FNN(layer_sizes_trunk)
        self.b = nn.Parameter(torch.tensor(0.0))
        self.regularizer = None

    def forward(self, inputs):
        x_func, x_loc = inputs
        x_func = self.branch(x_func)
        x_loc = self.activation_trunk(self.trunk(x_loc))
        if x_func.shape[-1] != x_loc.shape[-1]:
            raise AssertionError('Output sizes of branch net and trunk net do not match.')
        x = torch.einsum('bi,ni->bn', x_func, x_loc)
        x = x + self.b
        return x


class TripleAntiderivative:
    """Functions u as sines on [0, 1], one sensor row and one point y per sample; G(u)(y) is the integral of u up to y."""

    def __init__(self, num, m):
        sensors = torch.linspace(0, 1, m)
        k, amplitude = torch.randint(1, 4, (num, 1)).float(), torch.randn(num, 1)
        y = torch.rand(num, 1)
        self.train_x = (amplitude * torch.sin(math.pi * k * sensors), y)
        self.train_y = amplitude * (1 - torch.cos(math.pi * k * y)) / (math.pi * k)

    def train_next_batch(self, batch_size):
        indices = torch.randperm(len(self.train_y))[:batch_size]
        return (self.train_x[0][indices], self.train_x[1][indices]), self.train_y[indices]


def mean_squared_error(y_true, y_pred):
    return nn.MSELoss()(y_pred, y_true)


def outputs_losses(net, inputs, targets, losses_fn):
    outputs = net(inputs)
    losses = [losses_fn(targets, outputs)]
    return outputs, torch.stack(losses)


def build():
    return DeepONet([config['m'], 32, config['width']], [config['dim_x'], 32, config['width']])


def step(model):
    data = TripleAntiderivative(64, config['m'])
    inputs, targets = data.train_next_batch(config['batch'])
    _, losses = outputs_losses(model, inputs, targets, mean_squared_error)
    return torch.sum(losses)


# real fix: torch.sum(x_func * x_loc, dim=-1, keepdim=True), as in the aligned DeepONet
TRUTH = dict(raises=None, at='loss:mse_loss', culprits=['function:einsum'], dim=1, got=16, wanted=1,
             hint_any=['broadcast', '16×16', '(16, 16)', 'every pair', 'pairwise', 'keepdim', 'einsum'])
MENDED = [("torch.einsum('bi,ni->bn', x_func, x_loc)", 'torch.sum(x_func * x_loc, dim=-1, keepdim=True)')]
