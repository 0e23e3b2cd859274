import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/locuslab/deq/issues/17'
CATEGORY = 'layer'
DESCRIPTION = 'Deep equilibrium model on images: Broyden of the sequence models works on (batch, channels, length); the user gives it (B, C, H, W), answer: view(bsz, C, -1) around the layer.'


def matvec(part_Us, part_VTs, x):
    if part_Us.nelement() == 0:
        return -x
    VTx = torch.einsum('bdij, bij -> bd', part_VTs, x)
    return -x + torch.einsum('bijd, bd -> bij', part_Us, VTx)


def rmatvec(part_Us, part_VTs, x):
    if part_Us.nelement() == 0:
        return -x
    xTU = torch.einsum('bij, bijd -> bd', x, part_Us)
    return -x + torch.einsum('bd, bdij -> bij', xTU, part_VTs)


def broyden(f, x0, threshold):
    bsz, total_hsize, seq_len = x0.size(0), x0.size(1), x0[0, 0].numel()
    g = lambda y: f(y) - y
    x_est = x0
    gx = g(x_est)
    Us = torch.zeros(bsz, total_hsize, seq_len, threshold)
    VTs = torch.zeros(bsz, threshold, total_hsize, seq_len)
    update = gx
    for nstep in range(1, threshold):
        x_old, gx_old = x_est, gx
        x_est = x_est + update
        gx = g(x_est)
        delta_x, delta_gx = x_est - x_old, gx - gx_old
        part_Us, part_VTs = Us[:, :, :, :nstep - 1], VTs[:, :nstep - 1]
        vT = rmatvec(part_Us, part_VTs, delta_x)
        u = (delta_x - matvec(part_Us, part_VTs, delta_gx)) / torch.einsum('bij, bij -> b', vT, delta_gx)[:, None, None]
        vT = torch.nan_to_num(vT)
        u = torch.nan_to_num(u)
        Us = torch.cat([Us[..., :nstep - 1], u.unsqueeze(-1), Us[..., nstep:]], dim=-1)
        VTs = torch.cat([VTs[:, :nstep - 1], vT.unsqueeze(1), VTs[:, nstep:]], dim=1)
        update = -matvec(Us[:, :, :, :nstep], VTs[:, :nstep], gx)
    return x_est


class ResNetLayer(nn.Module):
    def __init__(self, n_channels, n_inner_channels, kernel_size=3, num_groups=4):
        super().__init__()
        self.conv1 = nn.Conv2d(n_channels, n_inner_channels, kernel_size, padding=kernel_size // 2, bias=False)
        self.conv2 = nn.Conv2d(n_inner_channels, n_channels, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm1 = nn.GroupNorm(num_groups, n_inner_channels)
        self.norm2 = nn.GroupNorm(num_groups, n_channels)
        self.norm3 = nn.GroupNorm(num_groups, n_channels)
        self.conv1.weight.data.normal_(0, 0.01)
        self.conv2.weight.data.normal_(0, 0.01)

    def forward(self, z, x):
        y = self.norm1(F.relu(self.conv1(z)))
        return self.norm3(F.relu(z + self.norm2(x + self.conv2(y))))


class DEQClassifier(nn.Module):
    def __init__(self, n_channels=8):
        super().__init__()
        self.stem = nn.Conv2d(1, n_channels, 3, padding=1, stride=2)
        self.layer = ResNetLayer(n_channels, 16)
        self.fc = nn.Linear(n_channels, 10)

    def solve(self, x):
        f = lambda Z: self.layer(Z, x)
        return broyden(f, torch.zeros_like(x), threshold=4)

    def forward(self, images):
        x = self.stem(images)
        z = self.solve(x)
        z = self.layer(z, x)
        return self.fc(z.mean(dim=(2, 3)))


def build():
    torch.manual_seed(0)
    return DEQClassifier()


def step(model):
    g = torch.Generator().manual_seed(6)
    images = torch.rand(8, 1, 16, 16, generator=g)
    labels = torch.randint(0, 10, (8,), generator=g)
    return F.cross_entropy(model(images), labels)


TRUTH = dict(raises='RuntimeError', at='function:einsum', culprits=['', 'function:zeros_like', 'layer', 'function:einsum'], dim=None, got=4, wanted=3,
             hint_any=['view', 'flatten', '3', 'reshape', 'dimension'])
MENDED = [('f = lambda Z: self.layer(Z, x)', 'B, C, H, W = x.shape; f = lambda Z: self.layer(Z.view(B, C, H, W), x).view(B, C, -1)'),
          ('broyden(f, torch.zeros_like(x), threshold=4)', 'broyden(f, torch.zeros_like(x).view(B, C, -1), threshold=4).view(B, C, H, W)')]
