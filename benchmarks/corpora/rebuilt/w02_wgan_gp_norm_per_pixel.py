import torch
import torch.nn as nn
from torch import autograd

SOURCE = 'https://github.com/Zeleni9/pytorch-wgan/issues/40'
CATEGORY = 'silent'
DESCRIPTION = 'WGAN-GP: gradients (B,C,H,W) are normed over the channels only, so every pixel instead of every sample is drawn to norm 1.'


class Generator(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.main_module = nn.Sequential(
            nn.ConvTranspose2d(20, 32, 4, 1, 0), nn.BatchNorm2d(32), nn.ReLU(True),
            nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.BatchNorm2d(16), nn.ReLU(True),
            nn.ConvTranspose2d(16, channels, 4, 2, 1))
        self.output = nn.Tanh()

    def forward(self, x):
        return self.output(self.main_module(x))


class Discriminator(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.main_module = nn.Sequential(
            nn.Conv2d(channels, 16, 4, 2, 1), nn.InstanceNorm2d(16, affine=True), nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(16, 32, 4, 2, 1), nn.InstanceNorm2d(32, affine=True), nn.LeakyReLU(0.2, inplace=True))
        self.output = nn.Conv2d(32, 1, 4, 1, 0)

    def forward(self, x):
        return self.output(self.main_module(x))


class WGAN_GP(nn.Module):
    def __init__(self, channels=3, batch_size=16, lambda_term=10):
        super().__init__()
        self.C, self.batch_size, self.lambda_term = channels, batch_size, lambda_term
        self.G, self.D = Generator(channels), Discriminator(channels)
        self.d_optimizer = torch.optim.Adam(self.D.parameters(), lr=1e-4, betas=(0.5, 0.999))

    def calculate_gradient_penalty(self, real_images, fake_images):
        eta = torch.rand(self.batch_size, 1, 1, 1)
        eta = eta.expand(self.batch_size, real_images.size(1), real_images.size(2), real_images.size(3))
        interpolated = (eta * real_images + (1 - eta) * fake_images).detach().requires_grad_(True)
        prob_interpolated = self.D(interpolated)
        gradients = autograd.grad(outputs=prob_interpolated, inputs=interpolated,
                                  grad_outputs=torch.ones(prob_interpolated.size()),
                                  create_graph=True, retain_graph=True)[0]
        grad_penalty = ((gradients.norm(2, dim=1) - 1) ** 2).mean() * self.lambda_term
        return grad_penalty

    def critic_loss(self, images):
        d_loss_real = self.D(images).mean()
        z = torch.randn(self.batch_size, 20, 1, 1)
        fake_images = self.G(z).detach()
        d_loss_fake = self.D(fake_images).mean()
        gradient_penalty = self.calculate_gradient_penalty(images, fake_images)
        return d_loss_fake - d_loss_real + gradient_penalty


def build():
    return WGAN_GP()


def step(model):
    loader = [torch.rand(16, 3, 16, 16) * 2 - 1 for _ in range(2)]
    for images in loader[:-1]:
        model.d_optimizer.zero_grad()
        model.critic_loss(images).backward()
        model.d_optimizer.step()
    return model.critic_loss(loader[-1])


# real fix: gradients.view(B, -1) before the norm
TRUTH = dict(raises=None, at='function:norm', culprits=['function:norm'], dim=1, got=3, wanted=768,
             hint_any=['flatten', 'view', 'sample', 'dim=(1, 2, 3)', '768', 'pixel', 'channel'])
MENDED = [('gradients.norm(2, dim=1)', 'gradients.view(self.batch_size, -1).norm(2, dim=1)')]
