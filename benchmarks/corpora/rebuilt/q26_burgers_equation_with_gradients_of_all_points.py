import math

import torch
import torch.nn as nn

SOURCE = 'https://taourl.com/read-2512966.html (retells the question "How to avoid sum from autograd.grad output in Physics Informed Neural Network")'
CATEGORY = 'correct'
DESCRIPTION = 'Burgers equation: autograd.grad sums over all points (grad_outputs of ones), which the asker wants to avoid; each u depends on its own x and t alone, so every row is the derivative at its point.'


class DNN(nn.Module):
    def __init__(self, layers):
        super().__init__()
        modules = []
        for i in range(len(layers) - 2):
            modules += [nn.Linear(layers[i], layers[i + 1]), nn.Tanh()]
        modules.append(nn.Linear(layers[-2], layers[-1]))
        self.layers = nn.Sequential(*modules)

    def forward(self, x):
        return self.layers(x)


class PhysicsInformedNN(nn.Module):
    def __init__(self, layers, nu):
        super().__init__()
        self.dnn = DNN(layers)
        self.nu = nu

    def net_u(self, x, t):
        return self.dnn(torch.cat([x, t], dim=1))

    def net_f(self, x, t):
        u = self.net_u(x, t)
        u_t = torch.autograd.grad(u, t, grad_outputs=torch.ones_like(u), retain_graph=True, create_graph=True)[0]
        u_x = torch.autograd.grad(u, x, grad_outputs=torch.ones_like(u), retain_graph=True, create_graph=True)[0]
        u_xx = torch.autograd.grad(u_x, x, grad_outputs=torch.ones_like(u_x), retain_graph=True, create_graph=True)[0]
        return u_t + u * u_x - self.nu * u_xx

    def forward(self, x_u, t_u, u, x_f, t_f):
        u_pred = self.net_u(x_u, t_u)
        f_pred = self.net_f(x_f, t_f)
        loss_u = torch.mean((u - u_pred) ** 2)
        loss_f = torch.mean(f_pred ** 2)
        return loss_u + loss_f


def training_points(n_u=20, n_f=20):
    x0 = torch.rand(n_u // 2, 1) * 2 - 1
    xb = torch.randint(0, 2, (n_u - n_u // 2, 1)).float() * 2 - 1
    x_u = torch.cat([x0, xb])
    t_u = torch.cat([torch.zeros_like(x0), torch.rand_like(xb)])
    u = torch.cat([-torch.sin(math.pi * x0), torch.zeros_like(xb)])
    x_f = (torch.rand(n_f, 1) * 2 - 1).requires_grad_(True)
    t_f = torch.rand(n_f, 1).requires_grad_(True)
    return x_u, t_u, u, x_f, t_f


def build():
    return PhysicsInformedNN([2, 20, 20, 20, 1], nu=0.01 / math.pi)


def step(model):
    points = training_points()
    optimizer = torch.optim.Adam(model.dnn.parameters(), lr=1e-2)
    model.dnn.train()
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(*points)
        loss.backward()
        optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
