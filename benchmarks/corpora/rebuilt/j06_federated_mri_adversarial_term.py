import torch
import torch.nn as nn

SOURCE = 'https://github.com/guopengf/FL-MRCM/issues/10'
CATEGORY = 'silent'
DESCRIPTION = 'Cross-site MRI reconstruction: loss_adv_g is turned into a number with detach().item() before it is added to the L1 loss, so the reconstruction net never sees the domain critic.'


class Unet(nn.Module):
    def __init__(self, chans=8):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, chans, 3, padding=1), nn.InstanceNorm2d(chans), nn.LeakyReLU(0.2))
        self.bottom = nn.Sequential(nn.Conv2d(chans, chans, 3, 2, 1), nn.InstanceNorm2d(chans), nn.LeakyReLU(0.2))
        self.up = nn.ConvTranspose2d(chans, chans, 2, 2)
        self.out = nn.Conv2d(chans * 2, 1, 1)

    def forward(self, image):
        skip = self.down(image.unsqueeze(1))
        z = self.bottom(skip)
        return self.out(torch.cat([self.up(z), skip], dim=1)).squeeze(1), z


class FeatureDiscriminator(nn.Module):
    def __init__(self, chans=8):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(chans, 16, 3, 2, 1), nn.LeakyReLU(0.2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(16, 2)

    def forward(self, z):
        return torch.sigmoid(self.fc(self.conv(z)))


class Site(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Unet()
        self.net_fd = FeatureDiscriminator()


def domain_code(row, batch):
    return torch.tensor([row], dtype=torch.float).repeat(batch, 1)


class LocalUpdateMRCM:
    def __init__(self, site, lr=5e-3):
        self.net, self.net_fd = site.net, site.net_fd
        self.optimizer = torch.optim.RMSprop(self.net.parameters(), lr)
        self.optimizer_fd = torch.optim.Adam(self.net_fd.parameters(), lr)
        self.loss_func = nn.L1Loss()
        self.adv_loss = nn.BCELoss()

    def set_requires_grad(self, net, flag):
        for p in net.parameters():
            p.requires_grad = flag

    def batch(self, input, target, input_t):
        self.net.zero_grad()
        self.net_fd.zero_grad()
        output, z = self.net(input)
        output_t, z_t = self.net(input_t)
        src_domain_code = domain_code([1, 0], input.shape[0])
        tgt_domain_code = domain_code([0, 1], input_t.shape[0])

        self.set_requires_grad(self.net_fd, True)
        df_loss_src = self.adv_loss(self.net_fd(z.detach()), 1 - src_domain_code)
        df_loss_tgt = self.adv_loss(self.net_fd(z_t.detach()), 1 - tgt_domain_code)
        df_loss = (df_loss_src + df_loss_tgt) / 2
        df_loss.backward()
        self.optimizer_fd.step()

        self.set_requires_grad(self.net_fd, False)
        df_loss_src = self.adv_loss(self.net_fd(z), src_domain_code)
        df_loss_tgt = self.adv_loss(self.net_fd(z_t), tgt_domain_code)
        loss_adv_g = ((df_loss_src + df_loss_tgt) / 2).detach().item()

        L1_loss = self.loss_func(output, target)
        loss = L1_loss + loss_adv_g
        loss.backward()
        self.optimizer.step()
        return loss.detach()


def build():
    return Site()


def step(model):
    update = LocalUpdateMRCM(model)
    target = torch.randn(4, 16, 16)
    for _ in range(4):
        loss = update.batch(target + 0.3 * torch.randn(4, 16, 16), target, torch.randn(4, 16, 16))
    return loss


# fix of the thread: keep the tensor, detach only in the append() of the log
TRUTH = dict(raises=None, at='function:detach', culprits=['function:detach', 'function:item'], dim=None, got=None, wanted=None,
             hint_any=['detach', 'gradient', 'constant', 'number'])
MENDED = [('((df_loss_src + df_loss_tgt) / 2).detach().item()', '(df_loss_src + df_loss_tgt) / 2')]
