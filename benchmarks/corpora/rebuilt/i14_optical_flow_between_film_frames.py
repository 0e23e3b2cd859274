import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/princeton-vl/RAFT/issues/83 ([7040, 1, 55, 128] against [6912, 9, 9, 2])'
CATEGORY = 'layer'
DESCRIPTION = 'RAFT on frames whose height is no multiple of 8: the feature encoder rounds up, the coordinate grid is made for H // 8.'


class Encoder(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, dim, 7, 2, 3), nn.ReLU(), nn.Conv2d(dim, dim, 3, 2, 1), nn.ReLU(), nn.Conv2d(dim, dim, 3, 2, 1))

    def forward(self, x):
        return self.net(x)


def bilinear_sampler(img, coords):
    H, W = img.shape[-2:]
    xgrid, ygrid = coords.split([1, 1], dim=-1)
    grid = torch.cat([2 * xgrid / (W - 1) - 1, 2 * ygrid / (H - 1) - 1], dim=-1)
    return F.grid_sample(img, grid, align_corners=True)


def coords_grid(batch, ht, wd):
    coords = torch.meshgrid(torch.arange(ht), torch.arange(wd), indexing='ij')
    return torch.stack(coords[::-1], dim=0).float()[None].repeat(batch, 1, 1, 1)


class CorrBlock:
    def __init__(self, fmap1, fmap2, num_levels=2, radius=1):
        self.radius, self.pyramid = radius, []
        b, d, h, w = fmap1.shape
        corr = torch.matmul(fmap1.view(b, d, h * w).transpose(1, 2), fmap2.view(b, d, h * w)) / d ** 0.5
        corr = corr.reshape(b * h * w, 1, h, w)
        for _ in range(num_levels):
            self.pyramid.append(corr)
            corr = F.avg_pool2d(corr, 2, stride=2)

    def __call__(self, coords):
        r = self.radius
        coords = coords.permute(0, 2, 3, 1)
        b, h, w, _ = coords.shape
        out = []
        for i, corr in enumerate(self.pyramid):
            d = torch.linspace(-r, r, 2 * r + 1)
            delta = torch.stack(torch.meshgrid(d, d, indexing='ij'), dim=-1).view(1, 2 * r + 1, 2 * r + 1, 2)
            lvl = coords.reshape(b * h * w, 1, 1, 2) / 2 ** i + delta
            out.append(bilinear_sampler(corr, lvl).view(b, h, w, -1))
        return torch.cat(out, dim=-1).permute(0, 3, 1, 2)


class RAFT(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.fnet, self.cnet = Encoder(dim), Encoder(dim)
        self.update = nn.Sequential(nn.Conv2d(18 + dim + 2, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 2, 3, padding=1))

    def forward(self, image1, image2, iters=3):
        fmap1, fmap2 = self.fnet(image1), self.fnet(image2)
        corr_fn = CorrBlock(fmap1, fmap2)
        inp = torch.relu(self.cnet(image1))
        n, _, h, w = image1.shape
        coords0, coords1 = coords_grid(n, h // 8, w // 8), coords_grid(n, h // 8, w // 8)
        for _ in range(iters):
            coords1 = coords1.detach()
            corr = corr_fn(coords1)
            coords1 = coords1 + self.update(torch.cat([corr, inp, coords1 - coords0], dim=1))
        return coords1 - coords0


def build():
    return RAFT()


def step(model):
    frame_1, frame_2 = torch.rand(1, 3, 60, 64), torch.rand(1, 3, 60, 64)
    flow = model(2 * frame_1 - 1, 2 * frame_2 - 1)
    return flow.abs().mean()


# real fix (thread): pad the frames to a multiple of 8 (InputPadder)
TRUTH = dict(raises='RuntimeError', at='function:grid_sample', culprits=['input', 'function:meshgrid'], dim=0, got=None, wanted=None,
             hint_any=['pad', 'multiple', 'divis', '8', 'round', '60', '//'])
MENDED = [('torch.rand(1, 3, 60, 64), torch.rand(1, 3, 60, 64)', 'F.pad(torch.rand(1, 3, 60, 64), (0, 0, 2, 2), mode="replicate"), F.pad(torch.rand(1, 3, 60, 64), (0, 0, 2, 2), mode="replicate")')]
