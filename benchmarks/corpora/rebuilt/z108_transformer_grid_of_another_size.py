import torch
from torch import nn
import torch.nn.functional as F
SOURCE = 'https://github.com/Alison-brie/MultiPropReg/issues/3'
CATEGORY = 'layer'
DESCRIPTION = 'The grid of the spatial transformer is built for volumes of another size than the data has.'

vol_size = (12, 16, 14)


class SpatialTransformer(nn.Module):
    def __init__(self, volsize):
        super().__init__()
        vectors = [torch.arange(0, s) for s in volsize]
        grid = torch.stack(torch.meshgrid(vectors, indexing='ij')).unsqueeze(0).float()
        self.register_buffer('grid', grid)

    def forward(self, src, flow):
        new_locs = self.grid + flow
        shape = flow.shape[2:]
        for i in range(len(shape)):
            new_locs[:, i, ...] = 2 * (new_locs[:, i, ...] / (shape[i] - 1) - 0.5)
        new_locs = new_locs.permute(0, 2, 3, 4, 1)[..., [2, 1, 0]]
        return F.grid_sample(src, new_locs, align_corners=True)


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc1, self.enc2 = nn.Conv3d(2, 8, 3, padding=1), nn.Conv3d(8, 16, 3, stride=2, padding=1)
        self.up = nn.Upsample(scale_factor=2)
        self.dec, self.flow = nn.Conv3d(24, 8, 3, padding=1), nn.Conv3d(8, 3, 3, padding=1)

    def forward(self, x, y):
        a = F.leaky_relu(self.enc1(torch.cat([x, y], 1)), 0.2)
        b = self.up(F.leaky_relu(self.enc2(a), 0.2))
        return self.flow(F.leaky_relu(self.dec(torch.cat([a, b], 1)), 0.2))


class RegNet(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.unet, self.transformer = UNet(), SpatialTransformer(size)

    def forward(self, moving, fixed):
        flow = self.unet(moving, fixed)
        return self.transformer(moving, flow), flow


def build():
    torch.manual_seed(0)
    return RegNet(vol_size)


def step(model):
    moving, fixed = torch.rand(1, 1, 12, 16, 10), torch.rand(1, 1, 12, 16, 10)
    warped, flow = model(moving, fixed)
    return F.mse_loss(warped, fixed) + flow.pow(2).mean()


TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['transformer', 'input', 'function:arange', 'function:stack', 'function:meshgrid'], dim=4, got=14, wanted=10, hint_any=['14', '10'])
MENDED = [('vol_size = (12, 16, 14)', 'vol_size = (12, 16, 10)')]
