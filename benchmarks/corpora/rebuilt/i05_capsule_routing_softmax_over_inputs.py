import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/motokimura/capsnet_pytorch/pull/1'
CATEGORY = 'silent'
DESCRIPTION = 'Dynamic routing: the coupling coefficients (1, in_caps, out_caps) are normalised over the input capsules, not over the output capsules among which each input votes.'


def squash(x, dim=-1):
    sq = (x ** 2).sum(dim=dim, keepdim=True)
    return sq / (1 + sq) * x / torch.sqrt(sq + 1e-8)


class PrimaryCaps(nn.Module):
    def __init__(self, in_channels=16, num_caps=4, caps_dim=4):
        super().__init__()
        self.caps_dim = caps_dim
        self.conv = nn.Conv2d(in_channels, num_caps * caps_dim, kernel_size=5, stride=2)

    def forward(self, x):
        x = self.conv(x)                                            # B, caps * dim, h, w
        b, _, h, w = x.shape
        x = x.view(b, -1, self.caps_dim, h, w).permute(0, 1, 3, 4, 2)
        return squash(x.reshape(b, -1, self.caps_dim))


class DigitCaps(nn.Module):
    def __init__(self, in_caps, in_dim=4, out_caps=10, out_dim=8, routings=3):
        super().__init__()
        self.in_caps, self.out_caps, self.routings = in_caps, out_caps, routings
        self.weight = nn.Parameter(0.1 * torch.randn(1, in_caps, out_caps, out_dim, in_dim))

    def forward(self, u):
        u = u.unsqueeze(2).unsqueeze(-1)                             # B, in, 1, in_dim, 1
        u_hat = torch.matmul(self.weight, u).squeeze(-1)             # B, in, out, out_dim
        b_ij = u_hat.new_zeros(self.in_caps, self.out_caps)
        for i in range(self.routings):
            c_ij = F.softmax(b_ij.unsqueeze(0), dim=1)
            s_j = (c_ij.unsqueeze(-1) * u_hat).sum(dim=1, keepdim=True)
            v_j = squash(s_j)
            if i < self.routings - 1:
                b_ij = b_ij + (u_hat * v_j).sum(-1).mean(0)
        return v_j.squeeze(1)


class CapsNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, kernel_size=5)
        self.primary_caps = PrimaryCaps()
        self.digit_caps = DigitCaps(in_caps=4 * 6 * 6)
        self.decoder = nn.Sequential(nn.Linear(80, 64), nn.ReLU(), nn.Linear(64, 400), nn.Sigmoid())

    def forward(self, x, y):
        caps = self.digit_caps(self.primary_caps(F.relu(self.conv1(x))))
        recon = self.decoder((caps * y.unsqueeze(-1)).flatten(1))
        return caps.norm(dim=-1), recon


def margin_loss(lengths, y, m_pos=0.9, m_neg=0.1, lambda_=0.5):
    left = F.relu(m_pos - lengths) ** 2
    right = F.relu(lengths - m_neg) ** 2
    return (y * left + lambda_ * (1 - y) * right).sum(dim=1).mean()


def build():
    return CapsNet()


def step(model):
    x = torch.rand(5, 1, 20, 20)
    y = F.one_hot(torch.randint(0, 10, (5,)), 10).float()
    optimizer = torch.optim.Adam(model.parameters())
    lengths, recon = model(x, y)
    loss = margin_loss(lengths, y) + 0.0005 * F.mse_loss(recon, x.flatten(1), reduction='sum') / x.size(0)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


# real fix: F.softmax(b_ij.unsqueeze(0), dim=2)
TRUTH = dict(raises=None, at='function:softmax', culprits=['function:softmax', 'digit_caps'], dim=1, got=144, wanted=10,
             hint_any=['dim=2', 'dim=-1', 'output capsule', 'softmax', 'sum'])
MENDED = [('F.softmax(b_ij.unsqueeze(0), dim=1)', 'F.softmax(b_ij.unsqueeze(0), dim=2)')]
