import torch
import torch.nn as nn

SOURCE = 'https://github.com/imcs-compsim/pinns_for_comp_mech/issues/14'
CATEGORY = 'layer'
DESCRIPTION = 'Elastic PINN: boundary mask and normals come from the training points X, the stresses in the test phase belong to fewer test points.'

E, NU = 1.0, 0.3
LAME, MU = E * NU / ((1 + NU) * (1 - 2 * NU)), E / (2 * (1 + NU))


class Rectangle:
    def on_boundary(self, x):
        return ((x == 0) | (x == 1)).any(dim=1)

    def boundary_normal(self, x):
        n = (x == 1).float() - (x == 0).float()
        return n / n.norm(dim=1, keepdim=True).clamp(min=1e-9)

    def random_points(self, n):
        return torch.rand(n, 2) * 0.98 + 0.01

    def random_boundary_points(self, n):
        x = torch.rand(n, 2)
        side = torch.randint(0, 2, (n,))
        x[torch.arange(n), side] = torch.randint(0, 2, (n,)).float()
        return x

    def uniform_points(self, n):
        k = int(n ** 0.5)
        g = torch.linspace(0.05, 0.95, k)
        return torch.cartesian_prod(g, g)


def jacobian(ys, xs, i, j):
    return torch.autograd.grad(ys[:, i:i + 1], xs, torch.ones_like(ys[:, i:i + 1]), create_graph=True)[0][:, j:j + 1]


def stress_plane_strain(x, y):
    e_xx, e_yy = jacobian(y, x, 0, 0), jacobian(y, x, 1, 1)
    e_xy = 0.5 * (jacobian(y, x, 0, 1) + jacobian(y, x, 1, 0))
    return (LAME + 2 * MU) * e_xx + LAME * e_yy, (LAME + 2 * MU) * e_yy + LAME * e_xx, 2 * MU * e_xy


def calculate_boundary_normals(X, geom):
    condition = geom.on_boundary(X)
    normals = geom.boundary_normal(X[condition])
    return normals[:, 0:1], normals[:, 1:2], condition


def stress_to_traction_2d(sigma_xx, sigma_yy, sigma_xy, nx, ny, cond):
    Tx = sigma_xx[cond] * nx + sigma_xy[cond] * ny
    Ty = sigma_xy[cond] * nx + sigma_yy[cond] * ny
    return Tx, Ty


class FNN(nn.Module):
    def __init__(self, layer_sizes):
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in zip(layer_sizes, layer_sizes[1:]))
        for linear in self.linears:
            nn.init.xavier_uniform_(linear.weight)

    def forward(self, x):
        for linear in self.linears[:-1]:
            x = torch.tanh(linear(x))
        return self.linears[-1](x)


class PDE:
    def __init__(self, geom, num_domain, num_boundary, num_test=None):
        self.geom, self.num_test = geom, num_test
        self.train_x_bc = geom.random_boundary_points(num_boundary)
        self.train_x = torch.cat([self.train_x_bc, geom.random_points(num_domain)])
        self.test_x = self.test_points()

    def test_points(self):
        if self.num_test is None:
            return self.train_x
        return torch.cat([self.train_x_bc, self.geom.uniform_points(self.num_test)])

    def pde(self, x, y):
        s_xx, s_yy, s_xy = stress_plane_strain(x, y)
        return [jacobian(s_xx, x, 0, 0) + jacobian(s_xy, x, 0, 1), jacobian(s_xy, x, 0, 0) + jacobian(s_yy, x, 0, 1)]

    def pressure(self, x, y, X):
        nx, ny, cond = calculate_boundary_normals(X, self.geom)
        Tx, Ty = stress_to_traction_2d(*stress_plane_strain(x, y), nx, ny, cond)
        return Tx * nx + Ty * ny + 0.1

    def losses(self, inputs, outputs):
        f = self.pde(inputs, outputs)
        errors = f + [self.pressure(inputs, outputs, self.train_x), outputs[:1]]
        return torch.stack([e.square().mean() for e in errors])


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = FNN([2, 20, 20, 2])
        self.register_buffer('loss_weights', torch.tensor([1.0, 1.0, 10.0, 1.0]))

    def outputs_losses(self, data, x):
        x = x.clone().requires_grad_(True)
        return (self.loss_weights * data.losses(x, self.net(x))).sum()


def build():
    return Model()


def step(model):
    data = PDE(Rectangle(), num_domain=60, num_boundary=40, num_test=25)
    history = {'train': model.outputs_losses(data, data.train_x), 'test': model.outputs_losses(data, data.test_x)}
    return history['train'] + 0.5 * history['test']


# real fix: test points = training points (num_test=None), or hand the points that were evaluated to the boundary condition
# offending tensor: cond (100,) of train_x, sigma_xx (65, 1) of test_x
TRUTH = dict(raises='IndexError', at='function:getitem', culprits=['input', 'function:any', 'function:getitem', 'function:cat'], dim=0, got=100, wanted=65,
             hint_any=['mask', '100', '65', 'points', 'rows'])
MENDED = [('self.pressure(inputs, outputs, self.train_x)', 'self.pressure(inputs, outputs, inputs.detach())')]
