import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/sniklaus/softmax-splatting/issues/41'
CATEGORY = 'loss'
DESCRIPTION = ('Softmax splatting with own images of 48x80: the optical flow is still the one that comes with the 32x32 example, '
               'the backwarped image has the size of the flow.')

backwarp_grid = {}


def backwarp(tenInput, tenFlow):
    key = str(tenFlow.shape)
    if key not in backwarp_grid:
        hor = torch.linspace(-1.0, 1.0, tenFlow.shape[3]).view(1, 1, 1, -1).expand(-1, -1, tenFlow.shape[2], -1)
        ver = torch.linspace(-1.0, 1.0, tenFlow.shape[2]).view(1, 1, -1, 1).expand(-1, -1, -1, tenFlow.shape[3])
        backwarp_grid[key] = torch.cat([hor, ver], 1)
    tenFlow = torch.cat([tenFlow[:, 0:1] / ((tenInput.shape[3] - 1.0) / 2.0), tenFlow[:, 1:2] / ((tenInput.shape[2] - 1.0) / 2.0)], 1)
    grid = (backwarp_grid[key] + tenFlow).permute(0, 2, 3, 1)
    return F.grid_sample(tenInput, grid, mode='bilinear', padding_mode='zeros', align_corners=True)


def splat(tenIn, tenFlow):
    b, c, h, w = tenIn.shape
    ys, xs = torch.meshgrid(torch.arange(h), torch.arange(w), indexing='ij')
    x = (xs + tenFlow[:, 0]).round().long().clamp(0, w - 1)
    y = (ys + tenFlow[:, 1]).round().long().clamp(0, h - 1)
    index = (y * w + x).view(b, 1, -1).expand(-1, c, -1)
    return torch.zeros(b, c, h * w).scatter_add(2, index, tenIn.reshape(b, c, -1)).view(b, c, h, w)


def softsplat(tenIn, tenFlow, tenMetric):
    tenIn = torch.cat([tenIn * tenMetric.exp(), tenMetric.exp()], 1)
    out = splat(tenIn, tenFlow)
    return out[:, :-1] / (out[:, -1:] + 0.0000001)


class Interpolate(nn.Module):
    def __init__(self):
        super().__init__()
        self.alpha = nn.Parameter(torch.full((1, 1, 1, 1), -20.0))
        self.refine = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.PReLU(), nn.Conv2d(16, 3, 3, padding=1))

    def forward(self, tenOne, tenTwo, tenFlow, fltTime=0.5):
        tenMetric = F.l1_loss(input=tenOne, target=backwarp(tenInput=tenTwo, tenFlow=tenFlow), reduction='none').mean(1, True)
        tenSoftmax = softsplat(tenOne, tenFlow * fltTime, (self.alpha * tenMetric).clip(-20.0, 20.0))
        return tenSoftmax + self.refine(tenSoftmax)


def read_image(seed, size=(48, 80)):
    return torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(seed))


def read_flo(seed, size=(32, 32)):
    return torch.randn(1, 2, *size, generator=torch.Generator().manual_seed(seed))


def build():
    return Interpolate()


def step(model):
    tenOne, tenTruth, tenTwo = read_image(0), read_image(1), read_image(2)
    tenFlow = read_flo(3)
    return F.l1_loss(model(tenOne, tenTwo, tenFlow), tenTruth)


# the maintainer: you changed the input images but not the optical flow estimate
TRUTH = dict(raises='RuntimeError', at='loss:l1_loss', culprits=['input'], dim=None, got=None, wanted=None,
             hint_any=['flow', 'input', 'grid', '32'])
MENDED = [('def read_flo(seed, size=(32, 32))', 'def read_flo(seed, size=(48, 80))')]
