import torch
import torch.nn as nn

SOURCE = 'https://github.com/pytorch/examples/issues/486'
CATEGORY = 'loss'
DESCRIPTION = 'DCGAN example changed to 32x32 images: the last kernels of both networks are made smaller, but the last transposed convolution keeps stride 2 and padding 1.'

nz, ngf, ndf, nc = 100, 8, 8, 3
batchSize, imageSize = 8, 32
real_label, fake_label = 1., 0.


def weights_init(m):
    classname = m.__class__.__name__
    if classname.find('Conv') != -1:
        torch.nn.init.normal_(m.weight, 0.0, 0.02)
    elif classname.find('BatchNorm') != -1:
        torch.nn.init.normal_(m.weight, 1.0, 0.02)
        torch.nn.init.zeros_(m.bias)


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
            nn.ConvTranspose2d(ngf, nc, 1, 2, 1, bias=False),
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
            nn.Conv2d(ndf * 8, 1, 2, 1, 0, bias=False),
            nn.Sigmoid())

    def forward(self, input):
        output = self.main(input)
        return output.view(-1, 1).squeeze(1)


class DCGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.netG = Generator()
        self.netD = Discriminator()
        self.apply(weights_init)


def build():
    torch.manual_seed(0)
    return DCGAN()


def step(model):
    criterion = nn.BCELoss()
    real = torch.rand(batchSize, nc, imageSize, imageSize) * 2 - 1
    label = torch.full((real.size(0),), real_label)
    output = model.netD(real)
    errD_real = criterion(output, label)

    noise = torch.randn(real.size(0), nz, 1, 1)
    fake = model.netG(noise)
    label = torch.full((real.size(0),), fake_label)
    output = model.netD(fake.detach())
    errD_fake = criterion(output, label)

    label = torch.full((real.size(0),), real_label)
    errG = criterion(model.netD(fake), label)
    return errD_real + errD_fake + errG


# real fix: ConvTranspose2d(ngf, nc, kernel_size=1, stride=1, padding=0)
# offending tensor: fake images (8, 3, 61, 61); D answers 2x2 scores an image
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy', culprits=['netG.main.12'], dim=2, got=61, wanted=32,
             hint_any=['stride', 'padding', 'kernel'])
MENDED = [('nn.ConvTranspose2d(ngf, nc, 1, 2, 1, bias=False)', 'nn.ConvTranspose2d(ngf, nc, 1, 1, 0, bias=False)')]
