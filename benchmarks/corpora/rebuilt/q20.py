import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/DiffEqML/torchdyn/issues/125'
CATEGORY = 'layer'
DESCRIPTION = 'Neural ODE: the vector field ends in Linear(8, 2) because two outputs are wanted; the solver adds it to a state of 8 numbers.'


class DepthCat(nn.Module):
    def __init__(self, idx_cat=1):
        super().__init__()
        self.idx_cat, self.t = idx_cat, None

    def forward(self, x):
        return torch.cat([x, self.t * torch.ones_like(x[:, :1])], self.idx_cat)


class DEFunc(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.f, self.nfe = f, 0

    def forward(self, t, x):
        self.nfe += 1
        for module in self.f.modules():
            if isinstance(module, DepthCat):
                module.t = t
        return self.f(x)


class RungeKutta4:
    def step(self, f, x, t, dt, k1=None):
        k1 = f(t, x) if k1 is None else k1
        k2 = f(t + 0.5 * dt, x + 0.5 * dt * k1)
        k3 = f(t + 0.5 * dt, x + 0.5 * dt * k2)
        k4 = f(t + dt, x + dt * k3)
        return x + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


class NeuralODE(nn.Module):
    def __init__(self, vector_field, solver=None):
        super().__init__()
        self.vf, self.solver = DEFunc(vector_field), solver or RungeKutta4()

    def forward(self, x, t_span):
        sol = [x]
        for t, t_next in zip(t_span[:-1], t_span[1:]):
            x = self.solver.step(self.vf, x, t, t_next - t)
            sol.append(x)
        return t_span, torch.stack(sol)


class StorageModel(nn.Module):
    def __init__(self, sensors=5, state=8, hidden=32, outputs=2):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(sensors, hidden), nn.LayerNorm(hidden), nn.SiLU(), nn.Linear(hidden, state))
        f = nn.Sequential(DepthCat(1), nn.Linear(state + 1, hidden), nn.Tanh(), nn.Linear(hidden, state), nn.Tanh(), nn.Linear(state, outputs))
        self.ode = NeuralODE(f)
        self.readout = nn.Identity()

    def forward(self, x, t_span):
        t, trajectory = self.ode(self.encoder(x), t_span)
        return t, self.readout(trajectory)


class Learner:
    def __init__(self, model, horizon=10, weight=1e-3):
        self.model, self.t_span, self.weight = model, torch.linspace(0, 1, horizon), weight

    def training_step(self, batch):
        x, y = batch
        _, y_hat = self.model(x, self.t_span)
        smooth = (y_hat[1:] - y_hat[:-1]).pow(2).mean()
        return F.mse_loss(y_hat, y.transpose(0, 1)) + self.weight * smooth


def build():
    return StorageModel()


def step(model):
    learner = Learner(model)
    return learner.training_step((torch.randn(12, 5), torch.randn(12, 10, 2)))


# real fix: the field keeps the width of the state; the map to two outputs goes after the solver
# offending tensor: k1 (12, 2), 8 expected
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['ode.vf.f.5', 'ode.vf.f', 'ode.vf'], dim=1, got=2, wanted=8,
             hint_any=['out_features', 'state', '8', 'vector field', 'solver'])
MENDED = [('nn.Linear(state, outputs))', 'nn.Linear(state, state))'), ('nn.Identity()', 'nn.Linear(state, outputs)')]
