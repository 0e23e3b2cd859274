import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/aim-uofa/AdelaiDepth/issues/43'
CATEGORY = 'layer'
DESCRIPTION = 'Depth training with a normalised regression loss: a sample without enough valid pixels is filtered out of the depths (7 left), mean and std are still of all 8.'


class LateralBlock(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
        self.conv2 = nn.Conv2d(o, o, 3, 1, 1)

    def forward(self, x):
        h = F.relu(self.bn1(self.conv1(x)))
        return F.relu(h + self.conv2(h))


class RelDepthModel(nn.Module):
    def __init__(self, widths=(8, 16, 24)):
        super().__init__()
        self.encoder = nn.ModuleList([LateralBlock(i, o, 2) for i, o in zip((3,) + widths, widths)])
        self.lateral = nn.ModuleList([nn.Conv2d(w, 16, 1) for w in widths])
        self.fuse = nn.ModuleList([nn.Conv2d(16, 16, 3, padding=1) for _ in widths])
        self.out = nn.Conv2d(16, 1, 3, padding=1)

    def forward(self, x):
        size, maps = x.shape[2:], []
        for e in self.encoder:
            x = e(x)
            maps.append(x)
        y = 0
        for m, lat, fuse in zip(maps[::-1], list(self.lateral)[::-1], self.fuse):
            m = lat(m)
            y = fuse(m if isinstance(y, int) else m + F.interpolate(y, size=m.shape[2:], mode='bilinear'))
        return self.out(F.interpolate(y, size=size, mode='bilinear'))


class ILNRLoss(nn.Module):
    def __init__(self, min_threshold=1e-8, trim=0.1):
        super().__init__()
        self.min_threshold, self.trim = min_threshold, trim

    def transform(self, gt):
        means, stds = [], []
        for sample in gt:
            valid = sample[sample > self.min_threshold]
            if valid.numel() < 10:
                valid = sample.flatten()
            k = int(valid.numel() * self.trim)
            valid = valid.sort()[0][k:valid.numel() - k]
            means.append(valid.mean())
            stds.append(valid.std())
        return torch.stack(means), torch.stack(stds)

    def forward(self, pred, gt, mask=None):
        if mask is None:
            mask = gt > self.min_threshold
        mask_sum = torch.sum(mask, dim=(1, 2, 3))
        mask_batch = mask_sum > 100
        if not mask_batch.any():
            return pred.sum() * 0
        mask_maskbatch, pred_maskbatch, gt_maskbatch = mask[mask_batch], pred[mask_batch], gt[mask_batch]
        gt_mean, gt_std = self.transform(gt)
        gt_trans = (gt_maskbatch - gt_mean[:, None, None, None]) / (gt_std[:, None, None, None] + 1e-8)
        a = (pred_maskbatch - gt_trans).abs()[mask_maskbatch].mean()
        b = (torch.tanh(0.01 * pred_maskbatch) - torch.tanh(0.01 * gt_trans)).abs()[mask_maskbatch].mean()
        return a + b


class ModelLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.ilnr = ILNRLoss()

    def gradient(self, pred, gt, mask):
        both = mask[..., 1:] & mask[..., :-1]
        diff = pred - gt
        return (diff[..., 1:] - diff[..., :-1]).abs()[both].mean()

    def forward(self, pred, gt):
        mask = gt > 1e-8
        return self.ilnr(pred, gt, mask) + 0.1 * self.gradient(pred, gt, mask)


def build():
    return RelDepthModel()


def step(model):
    rgb, depth = torch.rand(8, 3, 48, 48), torch.rand(8, 1, 48, 48)
    depth[torch.rand_like(depth) < 0.2] = 0
    depth[5, :, 4:] = 0
    depth[5, :, :, 20:] = 0
    return ModelLoss()(model(rgb), depth)


# real fix: mean and std of the samples that are left, self.transform(gt_maskbatch) (confirmed by the author)
# offending tensor: gt_mean (8, 1, 1, 1), 7 expected
TRUTH = dict(raises='RuntimeError', at='function:sub', culprits=['function:getitem', 'function:stack', 'target'], dim=0, got=8, wanted=7,
             hint_any=['mask', 'filter', 'getitem', 'index', 'stack', 'batch'])
MENDED = [('self.transform(gt)\n', 'self.transform(gt_maskbatch)\n')]
