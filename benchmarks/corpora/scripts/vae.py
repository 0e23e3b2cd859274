import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, PIXELS, HIDDEN, LATENT = 12, 14, 40, 6


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Flatten(), nn.Linear(PIXELS * PIXELS, HIDDEN), nn.ReLU()
        )
        self.mu = nn.Linear(HIDDEN, LATENT)
        self.logvar = nn.Linear(HIDDEN, LATENT)
        self.decoder = nn.Sequential(
            nn.Linear(LATENT, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, PIXELS * PIXELS),
            nn.Sigmoid(),
        )

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        return mu + torch.randn_like(std) * std

    def forward(self, x):
        h = self.encoder(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = self.reparameterize(mu, logvar)
        recon = self.decoder(z).view(x.size(0), 1, PIXELS, PIXELS)
        return recon, mu, logvar


def build():
    return VAE()


def step(model):
    x = torch.rand(BATCH, 1, PIXELS, PIXELS)
    recon, mu, logvar = model(x)
    bce = F.binary_cross_entropy(recon, x, reduction="sum")
    kld = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum()
    return (bce + kld) / x.size(0)


EQUAL = dict(BATCH=8, PIXELS=8, HIDDEN=8, LATENT=8)
