import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/rll/deepul/issues/12'
CATEGORY = 'correct'
DESCRIPTION = 'RealNVP flow: zero_grad is called after the loss was computed and before backward.'


class MLP(nn.Module):
    def __init__(self, input_size, n_hidden, hidden_size, output_size):
        super().__init__()
        layers = []
        for _ in range(n_hidden):
            layers += [nn.Linear(input_size, hidden_size), nn.ReLU()]
            input_size = hidden_size
        self.layers = nn.Sequential(*layers, nn.Linear(hidden_size, output_size))

    def forward(self, x):
        return self.layers(x)


class AffineTransform(nn.Module):
    def __init__(self, type, n_hidden=2, hidden_size=32):
        super().__init__()
        self.register_buffer('mask', torch.tensor([1.0, 0.0]) if type == 'left' else torch.tensor([0.0, 1.0]))
        self.mlp = MLP(input_size=2, n_hidden=n_hidden, hidden_size=hidden_size, output_size=2)
        self.scale = nn.Parameter(torch.zeros(1))
        self.scale_shift = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        mask = self.mask.repeat(x.shape[0], 1)
        x_ = x * mask
        log_s, t = self.mlp(x_).split(1, dim=1)
        log_s = self.scale * torch.tanh(log_s) + self.scale_shift
        t = t * (1.0 - mask)
        log_s = log_s * (1.0 - mask)
        return x * torch.exp(log_s) + t, log_s


class RealNVP(nn.Module):
    def __init__(self, n_transforms=4):
        super().__init__()
        self.transforms = nn.ModuleList([AffineTransform('left' if i % 2 == 0 else 'right') for i in range(n_transforms)])
        self.register_buffer('loc', torch.zeros(2))

    def log_prob(self, x):
        z, log_det = x, torch.zeros_like(x)
        for op in self.transforms:
            z, delta = op(z)
            log_det = log_det + delta
        prior = torch.distributions.Normal(self.loc, torch.ones_like(self.loc))
        return log_det.sum(dim=1) + prior.log_prob(z).sum(dim=1)

    def nll(self, x):
        return -self.log_prob(x).mean()


def build():
    return RealNVP()


def step(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    angle = torch.rand(64) * 3.14159
    data = torch.stack([torch.cos(angle), torch.sin(angle)], 1) + 0.1 * torch.randn(64, 2)
    loader = torch.utils.data.DataLoader(data, batch_size=32, shuffle=True)
    model.train()
    for x in loader:
        x = x.float()
        loss = model.nll(x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
