import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://forums.fast.ai/t/cyclegan-training-procedure/51104'
CATEGORY = 'correct'
DESCRIPTION = 'CycleGAN in the manner of the fastai course: requires_grad is switched off in the critics while the generators learn; the asker thinks that nothing then comes through to the generators, it does.'


def conv_norm_relu(ni, nf, ks=3, stride=1, relu=True):
    layers = [nn.ReflectionPad2d(ks // 2), nn.Conv2d(ni, nf, ks, stride=stride), nn.InstanceNorm2d(nf)]
    return nn.Sequential(*layers, nn.ReLU(True)) if relu else nn.Sequential(*layers)


class ResBlock(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.conv1, self.conv2 = conv_norm_relu(dim, dim), conv_norm_relu(dim, dim, relu=False)

    def forward(self, x):
        return x + self.conv2(self.conv1(x))


def resnet_generator(ch=3, nf=8):
    return nn.Sequential(conv_norm_relu(ch, nf, 7), conv_norm_relu(nf, 2 * nf, 3, 2), ResBlock(2 * nf),
                         nn.ConvTranspose2d(2 * nf, nf, 3, stride=2, padding=1, output_padding=1), nn.InstanceNorm2d(nf), nn.ReLU(True),
                         nn.ReflectionPad2d(3), nn.Conv2d(nf, ch, 7), nn.Tanh())


def critic(ch=3, nf=8):
    return nn.Sequential(nn.Conv2d(ch, nf, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(nf, 2 * nf, 4, 2, 1), nn.InstanceNorm2d(2 * nf),
                         nn.LeakyReLU(0.2), nn.Conv2d(2 * nf, 1, 4, 1, 1))


class CycleGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.D_A, self.D_B = critic(), critic()
        self.G_A, self.G_B = resnet_generator(), resnet_generator()

    def forward(self, real_A, real_B):
        fake_A, fake_B = self.G_A(real_B), self.G_B(real_A)
        idt_A, idt_B = self.G_A(real_A), self.G_B(real_B)
        return fake_A, fake_B, idt_A, idt_B


class AdaptiveLoss:
    def __call__(self, output, target_is_real):
        targ = output.new_ones(*output.size()) if target_is_real else output.new_zeros(*output.size())
        return F.mse_loss(output, targ)


class CycleGanLoss:
    def __init__(self, cgan, lambda_A=10., lambda_B=10, lambda_idt=0.5):
        self.cgan, self.l_A, self.l_B, self.l_idt = cgan, lambda_A, lambda_B, lambda_idt
        self.crit = AdaptiveLoss()

    def __call__(self, output, real_A, real_B):
        fake_A, fake_B, idt_A, idt_B = output
        id_loss = self.l_idt * (self.l_A * F.l1_loss(idt_A, real_A) + self.l_B * F.l1_loss(idt_B, real_B))
        gen_loss = self.crit(self.cgan.D_A(fake_A), True) + self.crit(self.cgan.D_B(fake_B), True)
        cyc_loss = self.l_A * F.l1_loss(self.cgan.G_A(fake_B), real_A) + self.l_B * F.l1_loss(self.cgan.G_B(fake_A), real_B)
        return id_loss + gen_loss + cyc_loss


def set_grad(modules, flag):
    for m in modules:
        for p in m.parameters():
            p.requires_grad_(flag)


def train_critic(D, opt, crit, real, fake):
    D.zero_grad()
    loss = 0.5 * (crit(D(real), True) + crit(D(fake.detach()), False))
    loss.backward()
    opt.step()
    return loss.detach()


def build():
    return CycleGAN()


def step(model):
    opt_G = torch.optim.Adam([*model.G_A.parameters(), *model.G_B.parameters()], lr=2e-4, betas=(0.5, 0.99))
    opt_D_A = torch.optim.Adam(model.D_A.parameters(), lr=2e-4, betas=(0.5, 0.99))
    opt_D_B = torch.optim.Adam(model.D_B.parameters(), lr=2e-4, betas=(0.5, 0.99))
    loss_func = CycleGanLoss(model)
    model.train()
    for _ in range(2):
        horses, zebras = torch.rand(2, 3, 32, 32) * 2 - 1, torch.rand(2, 3, 32, 32) * 2 - 1
        set_grad([model.D_A, model.D_B], False)
        output = model(horses, zebras)
        loss = loss_func(output, horses, zebras)
        opt_G.zero_grad()
        loss.backward()
        opt_G.step()
        set_grad([model.D_A, model.D_B], True)
        train_critic(model.D_A, opt_D_A, loss_func.crit, horses, output[0])
        train_critic(model.D_B, opt_D_B, loss_func.crit, zebras, output[1])
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
