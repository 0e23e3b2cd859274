import torch
import torch.nn as nn

SOURCE = 'https://github.com/pytorch/examples/issues/1278'
CATEGORY = 'loss'
DESCRIPTION = 'Portraits from noise: a generator and a discriminator made of strided convolutions play against each other.'

image_size = 128
nc = 3
nz = 20
ngf = 8
ndf = 8


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(nz, ngf * 8, 4, 1, 0, bias=False),
            nn.BatchNorm2d(ngf * 8),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 8, ngf * 4, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ngf * 4),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 4, ngf * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ngf * 2),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 2, ngf, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ngf),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf, nc, 4, 2, 1, bias=False),
            nn.Tanh())

    def forward(self, input):
        return self.main(input)


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(nc, ndf, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf, ndf * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ndf * 2),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf * 2, ndf * 4, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ndf * 4),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf * 4, ndf * 8, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ndf * 8),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf * 8, 1, 4, 1, 0, bias=False),
            nn.Sigmoid())

    def forward(self, input):
        return self.main(input)


class DCGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.netG = Generator()
        self.netD = Discriminator()
        self.criterion = nn.BCELoss()


def build():
    torch.manual_seed(0)
    return DCGAN()


def step(model):
    real_label, fake_label = 1., 0.
    real_cpu = torch.rand(16, nc, image_size, image_size) * 2 - 1
    b_size = real_cpu.size(0)
    label = torch.full((b_size,), real_label)
    output = model.netD(real_cpu).view(-1)
    errD_real = model.criterion(output, label)
    noise = torch.randn(b_size, nz, 1, 1)
    fake = model.netG(noise)
    label.fill_(fake_label)
    output = model.netD(fake.detach()).view(-1)
    errD_fake = model.criterion(output, label)
    return errD_real + errD_fake


# both networks are built for 64x64: the last convolution leaves 5x5 scores of a picture of 128; a further strided layer belongs into each of them
TRUTH = dict(raises='ValueError', at='function:binary_cross_entropy', culprits=['netD.main.11', 'netD.main', 'netD', 'input', 'function:view'],
             dim=0, got=400, wanted=16, hint_any=['5x5', '25', '64', 'image', 'kernel', 'spatial'])
MENDED = [('            nn.Conv2d(ndf * 8, 1, 4, 1, 0, bias=False),',
           '            nn.Conv2d(ndf * 8, ndf * 16, 4, 2, 1, bias=False), nn.BatchNorm2d(ndf * 16), nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(ndf * 16, 1, 4, 1, 0, bias=False),'),
          ('            nn.ConvTranspose2d(nz, ngf * 8, 4, 1, 0, bias=False),',
           '            nn.ConvTranspose2d(nz, ngf * 16, 4, 1, 0, bias=False), nn.BatchNorm2d(ngf * 16), nn.ReLU(True), nn.ConvTranspose2d(ngf * 16, ngf * 8, 4, 2, 1, bias=False),')]
