import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/nikhilsinghmus/image2reverb/issues/37'
CATEGORY = 'silent'
DESCRIPTION = 'Generator step: D judges fake_spec.detach(), the adversarial term gives the generator no gradient; only the L1 term trains it.'


class Encoder(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 16, 4, 4), nn.ReLU(), nn.Conv2d(16, dim, 4, 4), nn.ReLU())

    def forward(self, x):
        return self.net(x).mean((2, 3))


class Generator(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.fc = nn.Linear(dim * 2, 32 * 4 * 4)
        self.up = nn.Sequential(nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(16, 1, 4, 2, 1), nn.Tanh())

    def forward(self, z):
        return self.up(self.fc(z).view(-1, 32, 4, 4))


class Discriminator(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 32, 4, 2, 1), nn.LeakyReLU(0.2))
        self.out = nn.Conv2d(32 + dim, 1, 3, padding=1)

    def forward(self, spec, f):
        h = self.conv(spec)
        f = f[:, :, None, None].expand(-1, -1, h.shape[2], h.shape[3])
        return self.out(torch.cat([h, f], 1))


class Image2Reverb(nn.Module):
    def __init__(self, dim=16, l1=10.0):
        super().__init__()
        self.enc = Encoder(dim)
        self.g = Generator(dim)
        self.d = Discriminator(dim)
        self.dim, self.l1 = dim, l1

    def forward(self, label):
        f = self.enc(label)
        z = torch.cat([f, torch.randn(f.size(0), self.dim)], 1)
        return self.g(z), f

    def training_step(self, batch, optimizer_idx):
        spec, label = batch
        fake_spec, f = self.forward(label)
        if optimizer_idx == 0:
            d_fake2 = self.d(fake_spec.detach(), f)
            G_loss1 = F.mse_loss(d_fake2, torch.ones_like(d_fake2))
            G_loss2 = F.l1_loss(fake_spec, spec)
            return G_loss1 + self.l1 * G_loss2
        d_real, d_fake = self.d(spec, f.detach()), self.d(fake_spec.detach(), f.detach())
        return 0.5 * (F.mse_loss(d_real, torch.ones_like(d_real)) + F.mse_loss(d_fake, torch.zeros_like(d_fake)))


def build():
    return Image2Reverb()


def step(model):
    g_optim = torch.optim.Adam(list(model.enc.parameters()) + list(model.g.parameters()), lr=1e-2)
    batches = [(torch.rand(4, 1, 16, 16) * 2 - 1, torch.rand(4, 3, 32, 32)) for _ in range(2)]
    loss = model.training_step(batches[0], 0)
    g_optim.zero_grad()
    loss.backward()
    g_optim.step()
    return model.training_step(batches[1], 0)


# real fix: d_fake2 = self.d(fake_spec, f) in the generator's branch (the discriminator's own branch keeps its detach)
TRUTH = dict(raises=None, at='function:detach', culprits=['function:detach'], dim=None, got=None, wanted=None,
             hint_any=['detach', 'gradient', 'generator'])
MENDED = [('d_fake2 = self.d(fake_spec.detach(), f)', 'd_fake2 = self.d(fake_spec, f)')]
