import torch
import torch.nn as nn
import torch.autograd as autograd

SOURCE = 'https://github.com/eriklindernoren/PyTorch-GAN/issues/20'
CATEGORY = 'silent'
DESCRIPTION = 'WGAN-GP: gradients (B,C,H,W) go through norm(2, dim=1) unflattened: every pixel is pushed to gradient norm 1, not every image.'

lambda_gp = 10


class Generator(nn.Module):
    def __init__(self, latent_dim=16, img_shape=(3, 16, 16)):
        super().__init__()
        self.img_shape = img_shape
        self.fc = nn.Linear(latent_dim, 32 * 4 * 4)
        self.blocks = nn.Sequential(
            nn.BatchNorm2d(32),
            nn.Upsample(scale_factor=2), nn.Conv2d(32, 16, 3, padding=1), nn.BatchNorm2d(16), nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2), nn.Conv2d(16, img_shape[0], 3, padding=1), nn.Tanh())

    def forward(self, z):
        h = self.fc(z).view(z.size(0), 32, 4, 4)
        return self.blocks(h)


class Discriminator(nn.Module):
    def __init__(self, channels=3):
        super().__init__()

        def block(cin, cout):
            return [nn.Conv2d(cin, cout, 3, 2, 1), nn.LeakyReLU(0.2)]

        self.model = nn.Sequential(*block(channels, 16), *block(16, 32), *block(32, 32))
        self.adv_layer = nn.Linear(32 * 2 * 2, 1)

    def forward(self, img):
        out = self.model(img)
        return self.adv_layer(out.view(out.shape[0], -1))


class WGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = Generator()
        self.discriminator = Discriminator()


def compute_gradient_penalty(D, real_samples, fake_samples):
    alpha = torch.rand(real_samples.size(0), 1, 1, 1)
    interpolates = (alpha * real_samples + (1 - alpha) * fake_samples).requires_grad_(True)
    d_interpolates = D(interpolates)
    fake = torch.ones(real_samples.size(0), 1)
    gradients = autograd.grad(outputs=d_interpolates, inputs=interpolates, grad_outputs=fake,
                              create_graph=True, retain_graph=True, only_inputs=True)[0]
    gradient_penalty = ((gradients.norm(2, dim=1) - 1) ** 2).mean()
    return gradient_penalty


def build():
    return WGAN()


def step(model):
    real_imgs = torch.rand(6, 3, 16, 16) * 2 - 1
    z = torch.randn(6, 16)
    fake_imgs = model.generator(z).detach()
    real_validity = model.discriminator(real_imgs)
    fake_validity = model.discriminator(fake_imgs)
    gradient_penalty = compute_gradient_penalty(model.discriminator, real_imgs, fake_imgs)
    return -torch.mean(real_validity) + torch.mean(fake_validity) + lambda_gp * gradient_penalty


# real fix: gradients = gradients.view(gradients.size(0), -1) before the norm
TRUTH = dict(raises=None, at='function:norm', culprits=['function:norm'], dim=None, got=None, wanted=None,
             hint_any=['flatten', 'view', 'reshape', 'per sample', 'pixel', 'channel', 'dim=(1, 2, 3)'])
MENDED = [('gradients.norm(2, dim=1)', 'gradients.flatten(1).norm(2, dim=1)')]
