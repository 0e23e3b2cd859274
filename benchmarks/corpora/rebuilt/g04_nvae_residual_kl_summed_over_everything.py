import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/GlassyWing/nvae/issues/3'
CATEGORY = 'silent'
DESCRIPTION = 'Nouveau VAE: kl() sums over the dimensions of a sample and means over the batch, kl_2() lost dim in torch.sum, adds up the whole batch and then takes the mean of a single number.'


def reparameterize(mu, std):
    return torch.randn_like(mu) * std + mu


def kl(mu, log_var):
    loss = -0.5 * torch.sum(1 + log_var - mu ** 2 - torch.exp(log_var), dim=[1, 2, 3])
    return torch.mean(loss, dim=0)


def kl_2(delta_mu, delta_log_var, mu, log_var):
    var = torch.exp(log_var)
    delta_var = torch.exp(delta_log_var)
    loss = -0.5 * torch.sum(1 + delta_log_var - delta_mu ** 2 / var - delta_var)
    return torch.mean(loss, dim=0)


class ConvBlock(nn.Module):
    def __init__(self, cin, cout, stride=1):
        super().__init__()
        self._seq = nn.Sequential(nn.Conv2d(cin, cout, 3, stride, 1), nn.BatchNorm2d(cout), nn.LeakyReLU(0.2))

    def forward(self, x):
        return self._seq(x)


class Decoder(nn.Module):
    def __init__(self, z_dim=8):
        super().__init__()
        self.up1 = nn.ConvTranspose2d(z_dim, 16, 4, 2, 1)
        self.condition_z = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 16, 1))
        self.condition_xz = nn.Sequential(nn.Conv2d(32, 16, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 16, 1))
        self.up2 = nn.ConvTranspose2d(24, 16, 4, 2, 1)
        self.recon = nn.Conv2d(16, 1, 3, 1, 1)

    def forward(self, z, x):
        h = F.leaky_relu(self.up1(z), 0.2)
        mu, log_var = self.condition_z(h).chunk(2, dim=1)
        delta_mu, delta_log_var = self.condition_xz(torch.cat([x, h], dim=1)).chunk(2, dim=1)
        loss = kl_2(delta_mu, delta_log_var, mu, log_var)
        z = reparameterize(mu + delta_mu, torch.exp(0.5 * (log_var + delta_log_var)))
        h = F.leaky_relu(self.up2(torch.cat([h, z], dim=1)), 0.2)
        return torch.sigmoid(self.recon(h)), loss


class NVAE(nn.Module):
    def __init__(self, z_dim=8):
        super().__init__()
        self.block1 = ConvBlock(1, 16, 2)
        self.block2 = ConvBlock(16, 16, 2)
        self.condition_x = nn.Conv2d(16, 2 * z_dim, 1)
        self.decoder = Decoder(z_dim)

    def forward(self, x):
        skip = self.block1(x)
        mu, log_var = self.condition_x(self.block2(skip)).chunk(2, dim=1)
        z = reparameterize(mu, torch.exp(0.5 * log_var))
        decoder_output, kl_2_loss = self.decoder(z, skip)
        recon_loss = torch.mean(F.binary_cross_entropy(decoder_output, x, reduction='none').sum(dim=[1, 2, 3]))
        return decoder_output, recon_loss, [kl(mu, log_var), kl_2_loss]


def build():
    return NVAE()


def step(model):
    images = torch.rand(8, 1, 16, 16)
    _, recon_loss, kl_losses = model(images)
    return recon_loss + sum(kl_losses)


# real fix: sum over the dimensions of a sample only, then the mean over the batch
TRUTH = dict(raises=None, at='function:sum', culprits=['function:sum', 'function:mean'], dim=0, got=None, wanted=None,
             hint_any=['dim=', 'batch', 'scalar', 'single number'])
MENDED = [('- delta_mu ** 2 / var - delta_var)', '- delta_mu ** 2 / var - delta_var, dim=[1, 2, 3])')]
