import math

import torch
import torch.nn as nn

SOURCE = 'own'
CATEGORY = 'correct'
DESCRIPTION = 'Trajectory forecast with a mixture of Gaussians: each mode is compared with the one future; validation in evaluation mode between the training steps.'


class MixtureForecaster(nn.Module):
    def __init__(self, hidden=32, modes=6, horizon=6):
        super().__init__()
        self.enc = nn.GRU(2, hidden, batch_first=True)
        self.drop = nn.Dropout(0.1)
        self.weight = nn.Linear(hidden, modes)
        self.mean = nn.Linear(hidden, modes * horizon * 2)
        self.log_sd = nn.Linear(hidden, modes * horizon * 2)
        self.modes, self.horizon = modes, horizon

    def forward(self, past):
        h = self.drop(self.enc(past)[1][-1])
        shape = (-1, self.modes, self.horizon, 2)
        last = past[:, None, -1:, :]
        return torch.log_softmax(self.weight(h), -1), self.mean(h).view(shape) + last, self.log_sd(h).view(shape).clamp(-4, 2)


def nll(pred, future):
    log_w, mean, log_sd = pred
    z = (future.unsqueeze(1) - mean) * torch.exp(-log_sd)
    log_p = (-0.5 * z.square() - log_sd - 0.5 * math.log(2 * math.pi)).sum((2, 3))
    return -torch.logsumexp(log_w + log_p, dim=1).mean()


def min_error(pred, future):
    err = (pred[1] - future[:, None]).norm(dim=-1).mean(-1)
    return err.min(1).values.mean()


def tracks(n=12, t=14):
    walk = (0.1 * torch.randn(n, t, 2) + 0.2 * torch.randn(n, 1, 2)).cumsum(1)
    return walk[:, :t - 6], walk[:, t - 6:]


def build():
    return MixtureForecaster()


def step(model):
    opt, best = torch.optim.Adam(model.parameters(), lr=1e-3), float('inf')
    for _ in range(2):
        model.train()
        past, future = tracks()
        loss = nll(model(past), future)
        opt.zero_grad()
        loss.backward()
        opt.step()
        model.eval()
        with torch.no_grad():
            past, future = tracks(6)
            best = min(best, min_error(model(past), future).item())
    return (loss).detach()


# nothing to report
TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
MENDED = []
