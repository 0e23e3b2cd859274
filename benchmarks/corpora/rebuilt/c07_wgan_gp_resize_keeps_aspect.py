import torch
import torch.nn as nn
import torch.nn.functional as F
from torchvision import transforms

SOURCE = 'https://github.com/aladdinpersson/Machine-Learning-Collection/issues/101'
CATEGORY = 'layer'
DESCRIPTION = 'WGAN-GP on CelebA: Resize(64) keeps the aspect ratio, real images are 78x64, the critic takes them, the interpolation does not.'

IMAGE_SIZE, CHANNELS_IMG, Z_DIM = 64, 3, 100
FEATURES_CRITIC = FEATURES_GEN = 8
BATCH_SIZE, CRITIC_ITERATIONS, LAMBDA_GP = 8, 2, 10

transform = transforms.Compose([
    transforms.Resize(IMAGE_SIZE, antialias=True),
    transforms.Normalize([0.5 for _ in range(CHANNELS_IMG)], [0.5 for _ in range(CHANNELS_IMG)]),
])


class Discriminator(nn.Module):
    def __init__(self, channels_img, features_d):
        super().__init__()
        self.disc = nn.Sequential(
            nn.Conv2d(channels_img, features_d, kernel_size=4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            self._block(features_d, features_d * 2, 4, 2, 1),
            self._block(features_d * 2, features_d * 4, 4, 2, 1),
            self._block(features_d * 4, features_d * 8, 4, 2, 1),
            nn.Conv2d(features_d * 8, 1, kernel_size=4, stride=2, padding=0),
        )

    def _block(self, in_channels, out_channels, kernel_size, stride, padding):
        return nn.Sequential(nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False),
                             nn.InstanceNorm2d(out_channels, affine=True), nn.LeakyReLU(0.2))

    def forward(self, x):
        return self.disc(x)


class Generator(nn.Module):
    def __init__(self, channels_noise, channels_img, features_g):
        super().__init__()
        self.net = nn.Sequential(
            self._block(channels_noise, features_g * 16, 4, 1, 0),
            self._block(features_g * 16, features_g * 8, 4, 2, 1),
            self._block(features_g * 8, features_g * 4, 4, 2, 1),
            self._block(features_g * 4, features_g * 2, 4, 2, 1),
            nn.ConvTranspose2d(features_g * 2, channels_img, kernel_size=4, stride=2, padding=1),
            nn.Tanh(),
        )

    def _block(self, in_channels, out_channels, kernel_size, stride, padding):
        return nn.Sequential(nn.ConvTranspose2d(in_channels, out_channels, kernel_size, stride, padding, bias=False),
                             nn.BatchNorm2d(out_channels), nn.ReLU())

    def forward(self, x):
        return self.net(x)


class WGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.gen = Generator(Z_DIM, CHANNELS_IMG, FEATURES_GEN)
        self.critic = Discriminator(CHANNELS_IMG, FEATURES_CRITIC)
        for m in self.modules():
            if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)):
                nn.init.normal_(m.weight.data, 0.0, 0.02)


def gradient_penalty(critic, real, fake):
    alpha = torch.rand((real.shape[0], 1, 1, 1))
    interpolated_images = real * alpha + fake * (1 - alpha)
    mixed_scores = critic(interpolated_images)
    gradient = torch.autograd.grad(inputs=interpolated_images, outputs=mixed_scores, grad_outputs=torch.ones_like(mixed_scores),
                                   create_graph=True, retain_graph=True)[0]
    gradient_norm = gradient.view(gradient.shape[0], -1).norm(2, dim=1)
    return torch.mean((gradient_norm - 1) ** 2)


def build():
    return WGAN()


def step(model):
    faces = torch.rand(BATCH_SIZE, 3, 218, 178)
    real = transform(faces)
    loss_critic = 0.
    for _ in range(CRITIC_ITERATIONS):
        fake = model.gen(torch.randn(BATCH_SIZE, Z_DIM, 1, 1))
        critic_real = model.critic(real).reshape(-1)
        critic_fake = model.critic(fake.detach()).reshape(-1)
        gp = gradient_penalty(model.critic, real, fake)
        loss_critic = loss_critic - (torch.mean(critic_real) - torch.mean(critic_fake)) + LAMBDA_GP * gp
    gen_fake = model.critic(fake).reshape(-1)
    return loss_critic / CRITIC_ITERATIONS - torch.mean(gen_fake)


# real fix: transforms.Resize((IMAGE_SIZE, IMAGE_SIZE))
# offending tensor: real (8, 3, 78, 64), fake (8, 3, 64, 64)
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['input', 'function:interpolate'], dim=2, got=78, wanted=64,
             hint_any=['resize', 'crop', '64', 'image', 'square'])
MENDED = [('transforms.Resize(IMAGE_SIZE, antialias=True)', 'transforms.Resize((IMAGE_SIZE, IMAGE_SIZE), antialias=True)')]
