import numpy as np
import torch
import torch.nn as nn

SOURCE = 'https://github.com/albertpumarola/GANimation/issues/30'
CATEGORY = 'loss'
DESCRIPTION = 'Animated faces: the aligned faces have 224 pixels, the networks are made for image_size 128, so the action units come out on a 2x2 grid.'


class Options:
    image_size = 128
    cond_nc = 17
    lambda_D_cond, lambda_D_prob = 4000, 1
    conv_dim = 2


class ResidualBlock(nn.Module):
    def __init__(self, dim):
        super(ResidualBlock, self).__init__()
        self.main = nn.Sequential(nn.Conv2d(dim, dim, 3, padding=1, bias=False), nn.InstanceNorm2d(dim, affine=True), nn.ReLU(),
                                  nn.Conv2d(dim, dim, 3, padding=1, bias=False), nn.InstanceNorm2d(dim, affine=True))

    def forward(self, x):
        return x + self.main(x)


class Generator(nn.Module):
    def __init__(self, conv_dim, c_dim):
        super(Generator, self).__init__()
        self.main = nn.Sequential(
            nn.Conv2d(3 + c_dim, conv_dim, 7, padding=3, bias=False), nn.ReLU(),
            nn.Conv2d(conv_dim, conv_dim * 2, 4, stride=2, padding=1, bias=False), nn.ReLU(),
            ResidualBlock(conv_dim * 2),
            nn.ConvTranspose2d(conv_dim * 2, conv_dim, 4, stride=2, padding=1, bias=False), nn.ReLU())
        self.img_reg = nn.Sequential(nn.Conv2d(conv_dim, 3, 7, padding=3, bias=False), nn.Tanh())
        self.attetion_reg = nn.Sequential(nn.Conv2d(conv_dim, 1, 7, padding=3, bias=False), nn.Sigmoid())

    def forward(self, x, c):
        c = c.unsqueeze(2).unsqueeze(3)
        c = c.expand(c.size(0), c.size(1), x.size(2), x.size(3))
        features = self.main(torch.cat([x, c], dim=1))
        return self.img_reg(features), self.attetion_reg(features)


class Discriminator(nn.Module):
    def __init__(self, image_size=128, conv_dim=64, c_dim=5, repeat_num=6):
        super(Discriminator, self).__init__()
        layers = [nn.Conv2d(3, conv_dim, kernel_size=4, stride=2, padding=1), nn.LeakyReLU(0.01)]
        curr_dim = conv_dim
        for i in range(1, repeat_num):
            layers.append(nn.Conv2d(curr_dim, curr_dim * 2, kernel_size=4, stride=2, padding=1))
            layers.append(nn.LeakyReLU(0.01))
            curr_dim = curr_dim * 2
        k_size = int(image_size / np.power(2, repeat_num))
        self.main = nn.Sequential(*layers)
        self.conv1 = nn.Conv2d(curr_dim, 1, kernel_size=3, stride=1, padding=1, bias=False)
        self.conv2 = nn.Conv2d(curr_dim, c_dim, kernel_size=k_size, bias=False)

    def forward(self, x):
        h = self.main(x)
        out_real = self.conv1(h)
        out_aux = self.conv2(h)
        return out_real.squeeze(), out_aux.squeeze()


class GANimation(nn.Module):
    def __init__(self, opt):
        super(GANimation, self).__init__()
        self.opt = opt
        self.G = Generator(opt.conv_dim, opt.cond_nc)
        self.D = Discriminator(opt.image_size, opt.conv_dim, opt.cond_nc)
        self.criterion_D_cond = nn.MSELoss()

    def forward_D(self, real_img, real_cond, desired_cond):
        with torch.no_grad():
            fake_imgs, fake_img_mask = self.G(real_img, desired_cond)
            fake_imgs_masked = fake_img_mask * real_img + (1 - fake_img_mask) * fake_imgs
        d_real_img_prob, d_real_img_cond = self.D(real_img)
        loss_d_real = -d_real_img_prob.mean() * self.opt.lambda_D_prob
        loss_d_cond = self.criterion_D_cond(d_real_img_cond, real_cond) / real_img.size(0) * self.opt.lambda_D_cond
        d_fake_desired_img_prob, _ = self.D(fake_imgs_masked)
        loss_d_fake = d_fake_desired_img_prob.mean() * self.opt.lambda_D_prob
        return loss_d_real + loss_d_cond + loss_d_fake


class AusDataset:
    def __init__(self, n, height, width, cond_nc):
        g = torch.Generator().manual_seed(5)
        self.imgs = torch.rand(n, 3, height, width, generator=g) * 2 - 1
        self.aus = torch.rand(n, cond_nc, generator=g)

    def batch(self):
        return self.imgs, self.aus, self.aus.roll(1, 0)


def build():
    torch.manual_seed(0)
    return GANimation(Options())


def step(model):
    dataset = AusDataset(4, 224, 224, Options.cond_nc)
    return model.forward_D(*dataset.batch())


# real fix: faces of image_size, that is of 128x128 pixels
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['input', 'D.conv2'], dim=None, got=None, wanted=None,
             hint_any=['128', '224', 'kernel', 'spatial'])
MENDED = [('AusDataset(4, 224, 224, ', 'AusDataset(4, 128, 128, ')]
