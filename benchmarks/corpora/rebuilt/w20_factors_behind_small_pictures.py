import torch
from torch import nn
import torch.nn.functional as F

SOURCE = 'https://github.com/paruby/FactorVAE/issues/1 (written for torch)'
CATEGORY = 'correct'
DESCRIPTION = 'FactorVAE on small pictures: reconstruction, divergence of the code and total correlation by a discriminator with permuted codes.'


class Encoder(nn.Module):
    def __init__(self, z_dim):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 8, 4, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 4, 2, 1), nn.ReLU(), nn.Flatten(),
                                 nn.Linear(16 * 16, 32), nn.ReLU())
        self.mean = nn.Linear(32, z_dim)
        self.logvar = nn.Linear(32, z_dim)

    def forward(self, x):
        h = self.net(x)
        return self.mean(h), self.logvar(h)


class Decoder(nn.Module):
    def __init__(self, z_dim):
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(z_dim, 32), nn.ReLU(), nn.Linear(32, 16 * 16), nn.ReLU())
        self.net = nn.Sequential(nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 1, 4, 2, 1))

    def forward(self, z):
        return self.net(self.fc(z).view(-1, 16, 4, 4))


class FactorVAE(nn.Module):
    def __init__(self, z_dim=10, gamma=10.0):
        super().__init__()
        self.z_dim, self.gamma = z_dim, gamma
        self.encoder = Encoder(z_dim)
        self.decoder = Decoder(z_dim)
        self.discriminator = nn.Sequential(nn.Linear(z_dim, 32), nn.LeakyReLU(0.2), nn.Linear(32, 2))

    def encode(self, x):
        mean, logvar = self.encoder(x)
        return mean, logvar, mean + torch.exp(logvar / 2) * torch.randn_like(mean)


def permute_dims(z):
    return torch.stack([z_j[torch.randperm(len(z))] for z_j in z.unbind(1)], dim=1)


def vae_loss(model, x):
    enc_mean, enc_logvar, z = model.encode(x)
    logits = model.decoder(z)
    recon_loss = F.binary_cross_entropy_with_logits(logits, x, reduction='none').sum(dim=(1, 2, 3)).mean()
    kl_divergence = 0.5 * torch.mean(torch.sum(torch.exp(enc_logvar) - enc_logvar + enc_mean ** 2, dim=1) - model.z_dim)
    d = model.discriminator(z)
    total_correlation = torch.mean(d[:, 0] - d[:, 1])
    return recon_loss + kl_divergence + model.gamma * total_correlation, z


def discriminator_loss(model, z, x):
    with torch.no_grad():
        z_perm = permute_dims(model.encode(x)[2])
    real, permuted = model.discriminator(z.detach()), model.discriminator(z_perm)
    return 0.5 * (F.cross_entropy(real, torch.zeros(len(real), dtype=torch.long))
                  + F.cross_entropy(permuted, torch.ones(len(permuted), dtype=torch.long)))


def build():
    return FactorVAE()


def step(model):
    vae_parameters = [*model.encoder.parameters(), *model.decoder.parameters()]
    vae_optimizer = torch.optim.Adam(vae_parameters, lr=1e-3)
    disc_optimizer = torch.optim.Adam(model.discriminator.parameters(), lr=1e-3, betas=(0.5, 0.9))
    for _ in range(3):
        x, x_2 = (torch.rand(20, 1, 16, 16) < 0.3).float().chunk(2)
        loss, z = vae_loss(model, x)
        vae_optimizer.zero_grad()
        loss.backward()
        vae_optimizer.step()

        disc_loss = discriminator_loss(model, z, x_2)
        disc_optimizer.zero_grad()
        disc_loss.backward()
        disc_optimizer.step()
    return loss.detach()


# asked: why z_dim is subtracted behind the sum. It is the -1 of every dimension added up. Batch and code are both ten
TRUTH = dict(raises=None, culprits=[])
MENDED = []
