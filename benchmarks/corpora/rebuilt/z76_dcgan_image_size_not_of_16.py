import argparse
import torch
import torch.nn as nn

SOURCE = 'https://github.com/eriklindernoren/PyTorch-GAN/issues/164'
CATEGORY = 'layer'
DESCRIPTION = 'DCGAN with --img_size 40: the discriminator computes its last map as 40 // 16 = 2, four strided convolutions with padding give 3.'

parser = argparse.ArgumentParser()
parser.add_argument('--batch_size', type=int, default=64)
parser.add_argument('--latent_dim', type=int, default=100)
parser.add_argument('--img_size', type=int, default=32)
parser.add_argument('--channels', type=int, default=1)
opt = parser.parse_args(['--img_size', '40', '--batch_size', '9', '--channels', '3'])


def weights_init_normal(m):
    classname = m.__class__.__name__
    if classname.find('Conv') != -1:
        torch.nn.init.normal_(m.weight.data, 0.0, 0.02)
    elif classname.find('BatchNorm2d') != -1:
        torch.nn.init.normal_(m.weight.data, 1.0, 0.02)
        torch.nn.init.constant_(m.bias.data, 0.0)


class Generator(nn.Module):
    def __init__(self):
        super(Generator, self).__init__()
        self.init_size = opt.img_size // 4
        self.l1 = nn.Sequential(nn.Linear(opt.latent_dim, 128 * self.init_size ** 2))
        self.conv_blocks = nn.Sequential(
            nn.BatchNorm2d(128),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(128, 128, 3, stride=1, padding=1),
            nn.BatchNorm2d(128, 0.8),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(128, 64, 3, stride=1, padding=1),
            nn.BatchNorm2d(64, 0.8),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(64, opt.channels, 3, stride=1, padding=1),
            nn.Tanh())

    def forward(self, z):
        out = self.l1(z)
        out = out.view(out.shape[0], 128, self.init_size, self.init_size)
        img = self.conv_blocks(out)
        return img


class Discriminator(nn.Module):
    def __init__(self):
        super(Discriminator, self).__init__()

        def discriminator_block(in_filters, out_filters, bn=True):
            block = [nn.Conv2d(in_filters, out_filters, 3, 2, 1), nn.LeakyReLU(0.2, inplace=True), nn.Dropout2d(0.25)]
            if bn:
                block.append(nn.BatchNorm2d(out_filters, 0.8))
            return block

        self.model = nn.Sequential(
            *discriminator_block(opt.channels, 16, bn=False),
            *discriminator_block(16, 32),
            *discriminator_block(32, 64),
            *discriminator_block(64, 128))

        # The height and width of downsampled image
        ds_size = opt.img_size // 2 ** 4
        self.adv_layer = nn.Sequential(nn.Linear(128 * ds_size ** 2, 1), nn.Sigmoid())

    def forward(self, img):
        out = self.model(img)
        out = out.view(out.shape[0], -1)
        validity = self.adv_layer(out)
        return validity


class GAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = Generator()
        self.discriminator = Discriminator()
        self.generator.apply(weights_init_normal)
        self.discriminator.apply(weights_init_normal)


def build():
    torch.manual_seed(0)
    return GAN()


def step(model):
    adversarial_loss = torch.nn.BCELoss()
    real_imgs = torch.rand(opt.batch_size, opt.channels, opt.img_size, opt.img_size) * 2 - 1
    valid = torch.ones(real_imgs.size(0), 1)
    fake = torch.zeros(real_imgs.size(0), 1)
    z = torch.randn(real_imgs.shape[0], opt.latent_dim)
    gen_imgs = model.generator(z)
    g_loss = adversarial_loss(model.discriminator(gen_imgs), valid)
    real_loss = adversarial_loss(model.discriminator(real_imgs), valid)
    fake_loss = adversarial_loss(model.discriminator(gen_imgs.detach()), fake)
    return g_loss + (real_loss + fake_loss) / 2


# real fix: ds_size = ceil(img_size / 2 ** 4)
# offending tensor: (9, 1152) of (9, 128, 3, 3)
TRUTH = dict(raises='RuntimeError', at='module:discriminator.adv_layer.0', culprits=['discriminator.adv_layer.0'], dim=1, got=1152, wanted=512,
             hint_any=['ceil', '1152', 'in_features', '128 * 3', '128*3', '3 * 3', '3x3'])
MENDED = [('ds_size = opt.img_size // 2 ** 4', 'ds_size = -(-opt.img_size // 2 ** 4)')]
