import itertools
import torch
from torch import nn
import torch.nn.functional as F

SOURCE = 'https://github.com/9310gaurav/ali-pytorch/issues/5'
CATEGORY = 'correct'
DESCRIPTION = 'Adversarially learned inference on small pictures: encoder and generator against one discriminator of pairs, two optimizers for three networks.'


class Encoder(nn.Module):
    def __init__(self, latent):
        super().__init__()
        self.latent_size = latent
        self.main = nn.Sequential(nn.Conv2d(3, 16, 4, 2, 1), nn.BatchNorm2d(16), nn.LeakyReLU(0.01),
                                  nn.Conv2d(16, 32, 4, 2, 1), nn.BatchNorm2d(32), nn.LeakyReLU(0.01),
                                  nn.Conv2d(32, 2 * latent, 4))

    def forward(self, x):
        out = self.main(x).view(x.size(0), -1)
        return out[:, :self.latent_size], out[:, self.latent_size:]


class Generator(nn.Module):
    def __init__(self, latent):
        super().__init__()
        self.main = nn.Sequential(nn.ConvTranspose2d(latent, 32, 4), nn.BatchNorm2d(32), nn.LeakyReLU(0.01),
                                  nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.BatchNorm2d(16), nn.LeakyReLU(0.01),
                                  nn.ConvTranspose2d(16, 3, 4, 2, 1), nn.Tanh())

    def forward(self, z):
        return self.main(z)


class Discriminator(nn.Module):
    def __init__(self, latent):
        super().__init__()
        self.infer_x = nn.Sequential(nn.Conv2d(3, 16, 4, 2, 1), nn.LeakyReLU(0.01), nn.Conv2d(16, 32, 4, 2, 1),
                                     nn.LeakyReLU(0.01), nn.Conv2d(32, 32, 4), nn.LeakyReLU(0.01))
        self.infer_z = nn.Sequential(nn.Conv2d(latent, 32, 1), nn.LeakyReLU(0.01), nn.Dropout2d(0.2))
        self.infer_joint = nn.Sequential(nn.Conv2d(64, 32, 1), nn.LeakyReLU(0.01), nn.Conv2d(32, 1, 1))

    def forward(self, x, z):
        out = self.infer_joint(torch.cat([self.infer_x(x), self.infer_z(z)], dim=1))
        return torch.sigmoid(out).view(-1)


class ALI(nn.Module):
    def __init__(self, latent=8):
        super().__init__()
        self.latent = latent
        self.netE, self.netG, self.netD = Encoder(latent), Generator(latent), Discriminator(latent)


def build():
    return ALI()


def step(model, batch=16):
    netE, netG, netD = model.netE, model.netG, model.netD
    lr, b1, b2 = 1e-3, 0.5, 0.999
    optimizerG = torch.optim.Adam([{'params': netE.parameters()}, {'params': netG.parameters()}], lr=lr, betas=(b1, b2))
    optimizerD = torch.optim.Adam(netD.parameters(), lr=lr, betas=(b1, b2))
    criterion = nn.BCELoss()
    for _ in range(2):
        real = torch.rand(batch, 3, 16, 16) * 2 - 1
        real_label, fake_label = torch.ones(batch), torch.zeros(batch)
        z_fake = torch.randn(batch, model.latent, 1, 1)
        d_fake = netG(z_fake)
        mu, log_sigma = netE(real)
        sigma = torch.exp(log_sigma)
        z_real = (mu + sigma * torch.randn(batch, model.latent)).view(batch, model.latent, 1, 1)
        noise1, noise2 = torch.randn_like(real) * 0.1, torch.randn_like(real) * 0.1
        output_real = netD(real + noise1, z_real)
        output_fake = netD(d_fake + noise2, z_fake)
        loss_d = criterion(output_real, real_label) + criterion(output_fake, fake_label)
        loss_g = criterion(output_fake, real_label) + criterion(output_real, fake_label)
        optimizerD.zero_grad()
        optimizerG.zero_grad()
        grads_g = torch.autograd.grad(loss_g, list(itertools.chain(netE.parameters(), netG.parameters())),
                                      retain_graph=True)
        loss_d.backward(inputs=list(netD.parameters()))
        for p, g in zip(itertools.chain(netE.parameters(), netG.parameters()), grads_g):
            p.grad = g
        optimizerD.step()
        optimizerG.step()
    return (loss_g + loss_d).detach()


# the encoder has no optimizer of its own because optimizerG holds it as its first group
TRUTH = dict(raises=None, culprits=[])
MENDED = []
