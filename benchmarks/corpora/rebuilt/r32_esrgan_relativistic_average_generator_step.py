import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/Lornatang/ESRGAN-PyTorch/issues/6'
CATEGORY = 'correct'
DESCRIPTION = 'Relativistic average GAN: outputs (B,1) minus the mean over the batch of the other side; in the generator step the real images get label 0.'


class ResidualDenseBlock(nn.Module):
    def __init__(self, channels=16, growth=8):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, growth, 3, 1, 1)
        self.conv2 = nn.Conv2d(channels + growth, growth, 3, 1, 1)
        self.conv3 = nn.Conv2d(channels + 2 * growth, channels, 3, 1, 1)

    def forward(self, x):
        out1 = F.leaky_relu(self.conv1(x), 0.2)
        out2 = F.leaky_relu(self.conv2(torch.cat([x, out1], 1)), 0.2)
        return self.conv3(torch.cat([x, out1, out2], 1)) * 0.2 + x


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1)
        self.trunk = nn.Sequential(ResidualDenseBlock(), ResidualDenseBlock())
        self.conv2 = nn.Conv2d(16, 16, 3, 1, 1)
        self.upsampling = nn.Conv2d(16, 64, 3, 1, 1)
        self.conv3 = nn.Conv2d(16, 3, 3, 1, 1)

    def forward(self, x):
        out1 = self.conv1(x)
        out = out1 + self.conv2(self.trunk(out1))
        return self.conv3(F.pixel_shuffle(F.leaky_relu(self.upsampling(out), 0.2), 2))


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32),
            nn.LeakyReLU(0.2), nn.Conv2d(32, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.LeakyReLU(0.2))
        self.classifier = nn.Sequential(nn.Linear(32 * 4 * 4, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))

    def forward(self, x):
        return self.classifier(torch.flatten(self.features(x), 1))


class ESRGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = Generator()
        self.discriminator = Discriminator()


def generator_loss(generator, discriminator, lr, hr):
    real_label, fake_label = torch.ones(lr.size(0), 1), torch.zeros(lr.size(0), 1)
    for d_parameters in discriminator.parameters():
        d_parameters.requires_grad = False
    sr = generator(lr)
    pixel_loss = F.l1_loss(sr, hr)
    hr_output = discriminator(hr.detach())
    sr_output = discriminator(sr)
    d_loss_hr = F.binary_cross_entropy_with_logits(hr_output - torch.mean(sr_output), fake_label) * 0.5
    d_loss_sr = F.binary_cross_entropy_with_logits(sr_output - torch.mean(hr_output), real_label) * 0.5
    return 0.01 * pixel_loss + 0.005 * (d_loss_hr + d_loss_sr)


def discriminator_loss(discriminator, hr, sr):
    real_label, fake_label = torch.ones(hr.size(0), 1), torch.zeros(hr.size(0), 1)
    for d_parameters in discriminator.parameters():
        d_parameters.requires_grad = True
    hr_output = discriminator(hr)
    sr_output = discriminator(sr.detach())
    d_loss_hr = F.binary_cross_entropy_with_logits(hr_output - torch.mean(sr_output), real_label) * 0.5
    d_loss_sr = F.binary_cross_entropy_with_logits(sr_output - torch.mean(hr_output), fake_label) * 0.5
    return d_loss_hr + d_loss_sr


def build():
    return ESRGAN()


def step(model):
    hr = torch.rand(4, 3, 32, 32)
    lr = F.interpolate(hr, scale_factor=0.5, mode='bicubic', antialias=True)
    d_optimizer = torch.optim.Adam(model.discriminator.parameters(), lr=1e-4, betas=(0.9, 0.99))
    d_optimizer.zero_grad()
    discriminator_loss(model.discriminator, hr, model.generator(lr)).backward()
    d_optimizer.step()
    return generator_loss(model.generator, model.discriminator, lr, hr)


TRUTH = dict(raises=None, at=None, culprits=[])
