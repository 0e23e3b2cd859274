import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/bdwsq1996/Effi-MVS/issues/3 (depth_est [8,64,80], depth_gt and mask [8,8,10])'
CATEGORY = 'layer'
DESCRIPTION = 'Multi-view stereo: the true depth was prepared for another network and is a quarter of the image already; the data set takes its stages from it as if it were full size.'


class FeatureNet(nn.Module):
    def __init__(self, c=8):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, c, 3, 2, 1), nn.ReLU(), nn.Conv2d(c, c, 3, 2, 1), nn.ReLU(), nn.Conv2d(c, c, 3, 2, 1))

    def forward(self, x):
        return self.conv(x)


class EffiMVS(nn.Module):
    def __init__(self, c=8, ndepths=12):
        super().__init__()
        self.feature = FeatureNet(c)
        self.reg = nn.Conv3d(c, 1, 3, padding=1)
        self.update = nn.ModuleList(nn.Conv2d(1 + c, 1, 3, padding=1) for _ in range(2))
        self.register_buffer('values', torch.linspace(1, 2, ndepths))

    def forward(self, imgs):
        b, v = imgs.shape[:2]
        feats = self.feature(imgs.flatten(0, 1)).unflatten(0, (b, v))
        volume = feats.var(dim=1).unsqueeze(2) * self.values.view(1, 1, -1, 1, 1)
        prob = self.reg(volume).squeeze(1).softmax(dim=1)
        depth = (prob * self.values.view(1, -1, 1, 1)).sum(dim=1)
        outputs = [depth]
        for conv in self.update:
            depth = depth + conv(torch.cat([depth.unsqueeze(1), feats[:, 0]], dim=1)).squeeze(1)
            outputs.append(depth)
        return outputs


class DTUDataset(torch.utils.data.Dataset):
    def __init__(self, h=64, w=80):
        self.h, self.w = h, w

    def __len__(self):
        return 4

    def read_depth(self):
        return 1 + torch.rand(self.h // 4, self.w // 4)

    def __getitem__(self, i):
        depth = self.read_depth()
        stages = {'stage%d' % s: F.interpolate(depth[None, None], scale_factor=1 / 2 ** (3 - s), mode='nearest')[0, 0] for s in (0, 1, 2)}
        mask = {k: (d > 1.05).float() for k, d in stages.items()}
        return {'imgs': torch.randn(3, 3, self.h, self.w), 'depth': stages, 'mask': mask}


def mvs_loss(outputs, depth_gt, mask):
    mask = mask > 0.5
    total = 0
    for i, depth_est in enumerate(outputs):
        total = total + F.smooth_l1_loss(depth_est[mask], depth_gt[mask], reduction='mean') * 0.9 ** (len(outputs) - i - 1)
    return total


def build():
    return EffiMVS()


def step(model):
    sample = next(iter(torch.utils.data.DataLoader(DTUDataset(), batch_size=4)))
    outputs = model(sample['imgs'])
    return mvs_loss(outputs, sample['depth']['stage0'], sample['mask']['stage0'])


# real fix (thread): read the depth maps of the original size (or do not reduce those of a quarter again)
TRUTH = dict(raises='IndexError', at='function:getitem', culprits=['input', 'target', 'function:interpolate'], dim=1, got=2, wanted=8,
             hint_any=['mask', 'resolution', '2', '8', 'size', 'depth'])
MENDED = [('self.h // 4, self.w // 4', 'self.h, self.w')]
