import math

import torch
import torch.nn as nn

SOURCE = 'https://discuss.pytorch.org/t/2nd-order-differential-for-pinn-model/117834'
CATEGORY = 'silent'
DESCRIPTION = 'Physics-informed network for u(x,t): the second derivative is taken of the whole gradient (n,2) with ones for both columns, so its first column is u_xx + u_xt instead of u_xx.'


class MLP(nn.Module):
    def __init__(self, width=20, depth=3):
        super().__init__()
        layers = [nn.Linear(2, width), nn.Tanh()]
        for _ in range(depth - 1):
            layers += [nn.Linear(width, width), nn.Tanh()]
        layers.append(nn.Linear(width, 1))
        self.net = nn.Sequential(*layers)

    def forward(self, X):
        return self.net(X)


def pde_residual(mlp, X, alpha):
    X.requires_grad = True
    p = mlp(X)
    grads, = torch.autograd.grad(p, X, grad_outputs=torch.ones_like(p), create_graph=True, only_inputs=True)
    grads1, = torch.autograd.grad(grads, X, grad_outputs=torch.ones_like(grads), create_graph=True, only_inputs=True)
    dpdx, dpdt = grads[:, 0], grads[:, 1]
    dpdxx = grads1[:, 0]
    return dpdt - alpha * dpdxx


def sample_points(n_interior, n_boundary, n_initial):
    interior = torch.rand(n_interior, 2)
    boundary = torch.rand(n_boundary, 2)
    boundary[:, 0] = boundary[:, 0].round()
    initial = torch.rand(n_initial, 2)
    initial[:, 1] = 0.0
    return interior, boundary, initial


def build():
    return MLP()


def step(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    mse = nn.MSELoss()
    for _ in range(3):
        interior, boundary, initial = sample_points(64, 16, 16)
        optimizer.zero_grad()
        residual = pde_residual(model, interior, alpha=0.5)
        u_boundary, u_initial = model(boundary), model(initial)
        loss = (mse(residual, torch.zeros_like(residual)) + mse(u_boundary, torch.zeros_like(u_boundary))
                + mse(u_initial, torch.sin(math.pi * initial[:, :1])))
        loss.backward()
        optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at='function:grad', culprits=['function:grad', 'function:ones_like', 'function:__getitem__'], dim=None, got=None, wanted=None,
             hint_any=['second', 'derivative', 'sum', 'mixed', 'column'])
MENDED = [('torch.autograd.grad(grads, X, grad_outputs=torch.ones_like(grads),', 'torch.autograd.grad(grads[:, 0], X, grad_outputs=torch.ones_like(grads[:, 0]),')]
