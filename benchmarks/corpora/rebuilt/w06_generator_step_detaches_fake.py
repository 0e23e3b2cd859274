import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/nikhilsinghmus/image2reverb/issues/37'
CATEGORY = 'silent'
DESCRIPTION = 'In the generator step the discriminator is given fake_spec.detach(): the adversarial loss never reaches the generator.'


class Encoder(nn.Module):
    def __init__(self, out=24):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, out, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))

    def forward(self, x):
        return self.conv(x)


class Generator(nn.Module):
    def __init__(self, latent_dimension=32, ch=32):
        super().__init__()
        self.blocks = nn.ModuleList([
            nn.ConvTranspose2d(latent_dimension, ch, 4, 1, 0),
            nn.ConvTranspose2d(ch, ch // 2, 4, 2, 1),
            nn.ConvTranspose2d(ch // 2, ch // 4, 4, 2, 1)])
        self.to_spec = nn.Conv2d(ch // 4, 1, 3, padding=1)

    def forward(self, z):
        for block in self.blocks:
            z = F.leaky_relu(F.instance_norm(block(z)), 0.2)
        return torch.tanh(self.to_spec(z))


class Discriminator(nn.Module):
    def __init__(self, cond=24):
        super().__init__()
        self.first = nn.Conv2d(1, 16, 4, 2, 1)
        self.second = nn.Conv2d(16 + cond, 16, 4, 2, 1)
        self.out = nn.Conv2d(16, 1, 1)

    def forward(self, spec, label):
        h = F.leaky_relu(self.first(spec), 0.2)
        h = torch.cat([h, label.expand(-1, -1, *h.shape[2:])], dim=1)
        return self.out(F.leaky_relu(self.second(h), 0.2))


class Image2Reverb(nn.Module):
    def __init__(self, latent_dimension=32, l1_weight=1.0):
        super().__init__()
        self.enc, self.g, self.d = Encoder(), Generator(latent_dimension), Discriminator()
        self._latent_dimension, self._l1 = latent_dimension, l1_weight

    def configure_optimizers(self):
        return [torch.optim.Adam(self.g.parameters(), lr=4e-3), torch.optim.Adam(self.enc.parameters(), lr=1e-3),
                torch.optim.Adam(self.d.parameters(), lr=2e-3)]

    def training_step(self, batch, optimizer_idx):
        spec, label = batch
        f = self.enc(label)
        z = torch.cat((f, torch.randn(f.shape[0], self._latent_dimension - f.shape[1], f.shape[2], f.shape[3])), 1)
        fake_spec = self.g(z)
        if optimizer_idx in (0, 1):
            d_fake2 = self.d(fake_spec.detach(), f)
            G_loss1 = F.mse_loss(d_fake2, torch.ones_like(d_fake2))
            G_loss2 = F.l1_loss(fake_spec, spec)
            return G_loss1 + self._l1 * G_loss2
        d_fake = self.d(fake_spec.detach(), f.detach())
        d_real = self.d(spec, f.detach())
        return 0.5 * (F.mse_loss(d_fake, torch.zeros_like(d_fake)) + F.mse_loss(d_real, torch.ones_like(d_real)))


def build():
    return Image2Reverb()


def step(model):
    g_optim, e_optim, d_optim = model.configure_optimizers()
    batches = [(torch.rand(6, 1, 16, 16) * 2 - 1, torch.rand(6, 3, 32, 32)) for _ in range(2)]
    for optimizer_idx, optimizer in enumerate((g_optim, e_optim, d_optim)):
        optimizer.zero_grad()
        model.training_step(batches[0], optimizer_idx).backward()
        optimizer.step()
    model.zero_grad()
    return model.training_step(batches[1], 0)


# real fix: no detach in the generator's step
TRUTH = dict(raises=None, at='function:detach', culprits=['function:detach'], dim=None, got=None, wanted=None,
             hint_any=['detach', 'gradient', 'generator'])
MENDED = [('d_fake2 = self.d(fake_spec.detach(), f)', 'd_fake2 = self.d(fake_spec, f)')]
