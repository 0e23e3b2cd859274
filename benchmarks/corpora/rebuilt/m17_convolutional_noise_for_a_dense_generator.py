import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://wenku.csdn.net/answer/p9998bsqf8 (cause read from the numbers: 1600x1 = 16 * 100 noise numbers in a column)'
CATEGORY = 'layer'
DESCRIPTION = 'The DCGAN loop draws noise (16,100,1,1); the generator was swapped for a fully connected one, which takes the last dimension: 1 for 100.'


def weights_init(m):
    if isinstance(m, (nn.Linear, nn.Conv2d)):
        nn.init.normal_(m.weight, 0.0, 0.02)
    elif isinstance(m, nn.BatchNorm1d):
        nn.init.normal_(m.weight, 1.0, 0.02)


class Generator(nn.Module):
    def __init__(self, latent_dim=100, img_shape=(1, 28, 28)):
        super().__init__()
        self.img_shape = img_shape

        def block(a, b, normalize=True):
            layers = [nn.Linear(a, b)]
            if normalize:
                layers.append(nn.BatchNorm1d(b, 0.8))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            return layers

        size = img_shape[0] * img_shape[1] * img_shape[2]
        self.model = nn.Sequential(*block(latent_dim, 256, normalize=False), *block(256, 512), nn.Linear(512, size), nn.Tanh())

    def forward(self, z):
        img = self.model(z)
        return img.view(img.size(0), *self.img_shape)


class Discriminator(nn.Module):
    def __init__(self, ndf=16):
        super().__init__()
        self.main = nn.Sequential(nn.Conv2d(1, ndf, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(ndf, 2 * ndf, 4, 2, 1), nn.LeakyReLU(0.2), nn.Dropout2d(0.3))
        self.head = nn.Conv2d(2 * ndf, 1, 7)

    def forward(self, x):
        return self.head(self.main(x)).view(-1)


class GAN(nn.Module):
    def __init__(self, nz=100):
        super().__init__()
        self.nz = nz
        self.netG, self.netD = Generator(nz), Discriminator()
        self.apply(weights_init)


class Loop:
    real_label, fake_label = 0.9, 0.0

    def __init__(self, model, batch_size=16):
        self.model, self.criterion = model, nn.BCEWithLogitsLoss()
        self.fixed_noise = torch.randn(8, model.nz, 1, 1)
        self.batch_size = batch_size

    def noise(self, n):
        return torch.randn(n, self.model.nz, 1, 1)

    def discriminator_step(self, real, fake):
        label = torch.full((real.size(0),), self.real_label)
        loss = self.criterion(self.model.netD(real), label)
        return loss + self.criterion(self.model.netD(fake.detach()), torch.full_like(label, self.fake_label))

    def generator_step(self, fake):
        label = torch.full((fake.size(0),), self.real_label)
        return self.criterion(self.model.netD(fake), label)

    def run(self, real):
        fake = self.model.netG(self.noise(real.size(0)))
        return self.discriminator_step(real, fake) + self.generator_step(fake)


def build():
    return GAN()


def step(model):
    real = torch.rand(16, 1, 28, 28) * 2 - 1
    return Loop(model).run(real)


# real fix: noise of shape (n, 100) for a generator of linear layers (or view(n, -1) in it)
# offending tensor: z (16, 100, 1, 1)
TRUTH = dict(raises='RuntimeError', at='module:netG.model.0', culprits=['input', 'function:randn', 'netG'], dim=3, got=1, wanted=100,
             hint_any=['flatten', 'view', 'randn', 'noise', 'squeeze'])
MENDED = [('return torch.randn(n, self.model.nz, 1, 1)', 'return torch.randn(n, self.model.nz)')]
