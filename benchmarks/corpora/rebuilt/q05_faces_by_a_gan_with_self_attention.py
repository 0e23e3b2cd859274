import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils import spectral_norm

SOURCE = 'https://github.com/heykeetae/Self-Attention-GAN/issues/11'
CATEGORY = 'silent'
DESCRIPTION = 'Self-attention GAN: attention.permute(0, 1, 2) changes nothing, so the values are summed over the queries of the square (N, N) attention; permute(0, 2, 1) was meant.'


class Self_Attn(nn.Module):
    """ Self attention Layer"""

    def __init__(self, in_dim):
        super().__init__()
        self.chanel_in = in_dim
        self.query_conv = nn.Conv2d(in_dim, in_dim // 8, kernel_size=1)
        self.key_conv = nn.Conv2d(in_dim, in_dim // 8, kernel_size=1)
        self.value_conv = nn.Conv2d(in_dim, in_dim, kernel_size=1)
        self.gamma = nn.Parameter(torch.zeros(1))
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, x):
        m_batchsize, C, width, height = x.size()
        proj_query = self.query_conv(x).view(m_batchsize, -1, width * height).permute(0, 2, 1)
        proj_key = self.key_conv(x).view(m_batchsize, -1, width * height)
        energy = torch.bmm(proj_query, proj_key)
        attention = self.softmax(energy)
        proj_value = self.value_conv(x).view(m_batchsize, -1, width * height)
        out = torch.bmm(proj_value, attention.permute(0, 1, 2))
        out = out.view(m_batchsize, C, width, height)
        out = self.gamma * out + x
        return out, attention


class Generator(nn.Module):
    def __init__(self, z_dim=20, conv_dim=8):
        super().__init__()
        self.l1 = nn.Sequential(spectral_norm(nn.ConvTranspose2d(z_dim, conv_dim * 4, 4)), nn.BatchNorm2d(conv_dim * 4), nn.ReLU())
        self.l2 = nn.Sequential(spectral_norm(nn.ConvTranspose2d(conv_dim * 4, conv_dim * 2, 4, 2, 1)), nn.BatchNorm2d(conv_dim * 2), nn.ReLU())
        self.attn1 = Self_Attn(conv_dim * 2)
        self.last = nn.Sequential(nn.ConvTranspose2d(conv_dim * 2, 3, 4, 2, 1), nn.Tanh())

    def forward(self, z):
        out = self.l1(z.view(z.size(0), z.size(1), 1, 1))
        out, p1 = self.attn1(self.l2(out))
        return self.last(out), p1


class Discriminator(nn.Module):
    def __init__(self, conv_dim=8):
        super().__init__()
        self.l1 = nn.Sequential(spectral_norm(nn.Conv2d(3, conv_dim, 4, 2, 1)), nn.LeakyReLU(0.1))
        self.l2 = nn.Sequential(spectral_norm(nn.Conv2d(conv_dim, conv_dim * 2, 3, 1, 1)), nn.LeakyReLU(0.1))
        self.attn1 = Self_Attn(conv_dim * 2)
        self.last = nn.Conv2d(conv_dim * 2, 1, 8)

    def forward(self, x):
        out, p1 = self.attn1(self.l2(self.l1(x)))
        return self.last(out).squeeze(), p1


class SAGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.G, self.D = Generator(), Discriminator()


def build():
    return SAGAN()


def step(model):
    G, D = model.G, model.D
    g_optimizer = torch.optim.Adam(G.parameters(), 1e-3, (0.0, 0.9))
    d_optimizer = torch.optim.Adam(D.parameters(), 4e-3, (0.0, 0.9))
    for _ in range(3):
        real_images, z = torch.rand(8, 3, 16, 16) * 2 - 1, torch.randn(8, 20)
        d_out_real, dr = D(real_images)
        d_loss_real = F.relu(1.0 - d_out_real).mean()
        fake_images, gf = G(z)
        d_out_fake, df = D(fake_images.detach())
        d_loss_fake = F.relu(1.0 + d_out_fake).mean()
        d_loss = d_loss_real + d_loss_fake
        d_optimizer.zero_grad()
        d_loss.backward()
        d_optimizer.step()
        fake_images, _ = G(torch.randn(8, 20))
        g_out_fake, _ = D(fake_images)
        g_loss_fake = -g_out_fake.mean()
        g_optimizer.zero_grad()
        g_loss_fake.backward()
        g_optimizer.step()
    return (d_loss + g_loss_fake).detach()


TRUTH = dict(raises=None, at='function:permute', culprits=['function:permute', 'function:bmm', 'G.attn1', 'D.attn1'], dim=None, got=None, wanted=None,
             hint_any=['permute', 'transpose', 'queries', 'no effect', 'softmax'])
MENDED = [('attention.permute(0, 1, 2)', 'attention.permute(0, 2, 1)')]
