import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/NVlabs/DG-Net/issues/40'
CATEGORY = 'correct'
DESCRIPTION = 'DG-Net: persons are drawn again with the structure of one picture and the clothes of another, the code of the clothes also names the person.'


class ft_netAB(nn.Module):
    def __init__(self, class_num, dim=32):
        super().__init__()
        self.model = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, dim, 3, 2, 1), nn.BatchNorm2d(dim), nn.ReLU())
        self.partpool = nn.AdaptiveAvgPool2d((4, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier1 = nn.Linear(dim, class_num)
        self.classifier2 = nn.Linear(dim, class_num)

    def forward(self, x):
        x = self.model(x)
        f = self.partpool(x)
        f = f.view(f.size(0), f.size(1) * 4)
        f = f.detach()  # the code for the generator
        x = self.avgpool(x).flatten(1)
        return f, [self.classifier1(x), self.classifier2(x)]


class ContentEncoder(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.model = nn.Sequential(nn.Conv2d(1, dim, 3, 2, 1), nn.InstanceNorm2d(dim), nn.LeakyReLU(0.2), nn.Conv2d(dim, dim, 3, 2, 1), nn.InstanceNorm2d(dim), nn.LeakyReLU(0.2))

    def forward(self, x):
        return self.model(x)


class AdaINGen(nn.Module):
    def __init__(self, dim=16, id_dim=128):
        super().__init__()
        self.enc_content = ContentEncoder(dim)
        self.mlp = nn.Sequential(nn.Linear(id_dim, 64), nn.LeakyReLU(0.2), nn.Linear(64, 4 * dim))
        self.conv1, self.conv2 = nn.Conv2d(dim, dim, 3, 1, 1), nn.Conv2d(dim, dim, 3, 1, 1)
        self.up = nn.Sequential(nn.Upsample(scale_factor=4), nn.Conv2d(dim, 3, 5, 1, 2))

    def adain(self, h, mean, std):
        return F.instance_norm(h) * std[..., None, None] + mean[..., None, None]

    def encode(self, images):
        gray = images.mean(1, keepdim=True)
        return self.enc_content(gray)

    def decode(self, content, ID):
        m1, s1, m2, s2 = self.mlp(ID).chunk(4, dim=1)
        h = F.leaky_relu(self.adain(self.conv1(content), m1, s1), 0.2)
        h = content + self.adain(self.conv2(h), m2, s2)
        return self.up(h).tanh()


class DGNet(nn.Module):
    def __init__(self, class_num=6):
        super().__init__()
        self.gen_a = AdaINGen()
        self.id_a = ft_netAB(class_num)

    def gen_update(self, x_a, l_a, xp_a, x_b, l_b, gen_opt, id_opt):
        gen_opt.zero_grad()
        id_opt.zero_grad()
        s_a, s_b = self.gen_a.encode(x_a), self.gen_a.encode(x_b)
        f_a, p_a = self.id_a(x_a)
        f_b, p_b = self.id_a(x_b)
        fp_a, pp_a = self.id_a(xp_a)
        x_ba, x_ab = self.gen_a.decode(s_a, f_b), self.gen_a.decode(s_b, f_a)
        x_a_recon, x_b_recon = self.gen_a.decode(s_a, f_a), self.gen_a.decode(s_b, f_b)
        x_a_recon_p = self.gen_a.decode(s_a, fp_a)
        s_a_recon = self.gen_a.encode(x_ab)
        _, p_ab = self.id_a(x_ab)

        l1 = F.l1_loss
        loss_gen = l1(x_a_recon, x_a) + l1(x_b_recon, x_b) + l1(x_a_recon_p, x_a) + 0.1 * l1(s_a_recon, s_b)
        ce = F.cross_entropy
        loss_id = ce(p_a[0], l_a) + ce(p_b[0], l_b) + ce(pp_a[0], l_a) + 0.5 * (ce(p_a[1], l_a) + ce(p_ab[1], l_a))
        loss = 5 * loss_gen + loss_id + 0.1 * l1(x_ba.mean((2, 3)), x_b.mean((2, 3)))
        loss.backward()
        gen_opt.step()
        id_opt.step()
        return loss.detach()


def build():
    return DGNet()


def step(model):
    gen_opt = torch.optim.Adam(model.gen_a.parameters(), lr=1e-4, betas=(0.0, 0.999), weight_decay=5e-4)
    id_opt = torch.optim.SGD(model.id_a.parameters(), lr=2e-3, momentum=0.9, nesterov=True)
    x_a, xp_a, x_b = (torch.rand(3, 4, 3, 32, 16) * 2 - 1)
    l_a, l_b = torch.randint(0, 6, (2, 4))
    for _ in range(2):
        loss = model.gen_update(x_a, l_a, xp_a, x_b, l_b, gen_opt, id_opt)
    return loss


# the code of the clothes is cut off on purpose: the drawing must not change it, the encoder learns by naming the persons
TRUTH = dict(raises=None, culprits=[])
MENDED = []
