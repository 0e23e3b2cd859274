from types import SimpleNamespace

import torch
import torch.autograd as autograd
import torch.nn as nn

SOURCE = 'https://github.com/Xiaodong-Bran/MLFcGAN/issues/3'
CATEGORY = 'layer'
DESCRIPTION = 'WGAN-GP of a conditional GAN: alpha (B,1) cannot be expanded to (B,6,H,W); it only ran with batch size 1.'


class UNetGenerator(nn.Module):
    def __init__(self, ngf=16):
        super().__init__()
        self.down1 = nn.Sequential(nn.Conv2d(3, ngf, 4, 2, 1), nn.LeakyReLU(0.2))
        self.down2 = nn.Sequential(nn.Conv2d(ngf, ngf * 2, 4, 2, 1), nn.BatchNorm2d(ngf * 2), nn.LeakyReLU(0.2))
        self.up1 = nn.Sequential(nn.ConvTranspose2d(ngf * 2, ngf, 4, 2, 1), nn.BatchNorm2d(ngf), nn.ReLU())
        self.up2 = nn.Sequential(nn.ConvTranspose2d(ngf * 2, 3, 4, 2, 1), nn.Tanh())

    def forward(self, x):
        d1 = self.down1(x)
        return self.up2(torch.cat([self.up1(self.down2(d1)), d1], 1))


class NLayerDiscriminator(nn.Module):
    def __init__(self, input_nc, ndf=16, n_layers=2):
        super().__init__()
        layers, nf = [nn.Conv2d(input_nc, ndf, 4, 2, 1), nn.LeakyReLU(0.2)], ndf
        for _ in range(1, n_layers):
            layers += [nn.Conv2d(nf, nf * 2, 4, 2, 1), nn.InstanceNorm2d(nf * 2), nn.LeakyReLU(0.2)]
            nf *= 2
        layers += [nn.Conv2d(nf, 1, 4, 1, 1)]
        self.model = nn.Sequential(*layers)

    def forward(self, x):
        return self.model(x)


class CGAN(nn.Module):
    def __init__(self, opt):
        super().__init__()
        self.net_g = UNetGenerator()
        self.net_d = NLayerDiscriminator(opt.input_nc + opt.output_nc)


def calc_gradient_penalty(netD, real_data, fake_data, opt, constant=1.0):
    alpha = torch.rand(opt.batch_size, 1)
    alpha = alpha.expand(real_data.size())
    interpolates = alpha * real_data + ((1 - alpha) * fake_data)
    interpolates = interpolates.requires_grad_(True)
    disc_interpolates = netD(interpolates)
    gradients = autograd.grad(outputs=disc_interpolates, inputs=interpolates,
                              grad_outputs=torch.ones(disc_interpolates.size()),
                              create_graph=True, retain_graph=True, only_inputs=True)
    gradients = gradients[0].view(real_data.size(0), -1)
    return (((gradients + 1e-16).norm(2, dim=1) - constant) ** 2).mean() * opt.lamb


opt = SimpleNamespace(batch_size=6, input_nc=3, output_nc=3, lamb=10, n_critic=2)


def build():
    return CGAN(opt)


def step(model):
    real_a = torch.rand(opt.batch_size, 3, 16, 16) * 2 - 1
    real_b = torch.rand(opt.batch_size, 3, 16, 16) * 2 - 1
    optimizer_d = torch.optim.Adam(model.net_d.parameters(), lr=1e-4, betas=(0.5, 0.999))
    for _ in range(opt.n_critic):
        fake_b = model.net_g(real_a)
        fake_ab = torch.cat((real_a, fake_b), 1)
        real_ab = torch.cat((real_a, real_b), 1)
        loss_d = model.net_d(fake_ab.detach()).mean() - model.net_d(real_ab).mean()
        gradient_penalty = calc_gradient_penalty(model.net_d, real_ab.data, fake_ab.data, opt)
        optimizer_d.zero_grad()
        (loss_d + gradient_penalty).backward()
        optimizer_d.step()
    return loss_d + gradient_penalty


# real fix: torch.rand(opt.batch_size, 1, 1, 1) (the thread: torch.rand(1, 1))
# offending tensor: alpha (6, 1); expand aligns its 6 with the height 16 (and not with the batch or the 6 channels)
TRUTH = dict(raises='RuntimeError', at='function:expand', culprits=['function:rand', 'function:expand'], dim=0, got=6, wanted=None,
             hint_any=['(6, 1, 1, 1)', '1, 1, 1', 'view(-1, 1, 1, 1)', 'trailing', 'broadcast', 'align', 'unsqueeze'])
MENDED = [('torch.rand(opt.batch_size, 1)', 'torch.rand(opt.batch_size, 1, 1, 1)')]
