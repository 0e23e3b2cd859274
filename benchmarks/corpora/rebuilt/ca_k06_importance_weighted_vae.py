import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'own'
CATEGORY = 'silent'
DESCRIPTION = 'Importance-weighted autoencoder with K samples for each image, folded into the batch for the decoder.'

K, Z, PIX = 5, 6, 49


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(PIX, 40), nn.Softplus())
        self.mu, self.logsig = nn.Linear(40, Z), nn.Linear(40, Z)

    def forward(self, x):
        h = self.body(x)
        return self.mu(h), self.logsig(h)


class IWAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = Encoder()
        self.dec = nn.Sequential(nn.Linear(Z, 40), nn.Softplus(), nn.Linear(40, PIX))

    def sample(self, mu, logsig):
        mu, logsig = mu.repeat(K, 1), logsig.repeat(K, 1)
        eps = torch.randn_like(mu)
        return mu + logsig.exp() * eps, eps, logsig

    def forward(self, x):
        z, eps, logsig = self.sample(*self.enc(x))
        log_q = (-0.5 * eps.pow(2) - logsig - 0.5 * math.log(2 * math.pi)).sum(1)
        log_p = (-0.5 * z.pow(2) - 0.5 * math.log(2 * math.pi)).sum(1)
        return self.dec(z), log_q, log_p


def log_bernoulli(logits, x):
    return -(F.softplus(logits) - x * logits).sum(1)


def bound(model, x):
    logits, log_q, log_p = model(x)
    copies = x.repeat_interleave(K, 0)
    log_w = log_bernoulli(logits, copies) + log_p - log_q
    return torch.logsumexp(log_w.view(x.size(0), K), 1) - math.log(K)


def build():
    return IWAE()


def step(model):
    x = (torch.rand(12, PIX) > 0.6).float()
    return -bound(model, x).mean()


# z is repeated in blocks (all images, then all again), x and the view in runs (each image K times): rows do not belong together
TRUTH = dict(raises=None, at='function:mul', culprits=['function:repeat', 'function:repeat_interleave', 'function:mul', 'function:view', 'enc.mu', 'enc.logsig'],
             dim=0, got=60, wanted=60, hint_any=['repeat_interleave', 'repeat', 'pair', 'order'])
MENDED = [('mu.repeat(K, 1), logsig.repeat(K, 1)', 'mu.repeat_interleave(K, 0), logsig.repeat_interleave(K, 0)')]
