import random

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/XPixelGroup/BasicSR/issues/222'
CATEGORY = 'loss'
DESCRIPTION = 'RRDB for x3 super resolution: GT patches of 128 pixels are cut beside LR patches of 128 // 3 = 42, the network gives 126.'

OPT = {
    'scale': 3,
    'datasets': {'train': {'gt_size': 128, 'batch_size': 2, 'use_flip': True}},
    'network_g': {'in_nc': 3, 'out_nc': 3, 'nf': 8, 'nb': 1, 'gc': 4},
    'train': {'pixel_weight': 1e-2, 'feature_weight': 1.0},
}


class ResidualDenseBlock(nn.Module):
    def __init__(self, nf, gc):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(nf + i * gc, gc if i < 2 else nf, 3, 1, 1) for i in range(3))
        self.lrelu = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, x):
        feats = [x]
        for conv in self.convs[:-1]:
            feats.append(self.lrelu(conv(torch.cat(feats, 1))))
        return self.convs[-1](torch.cat(feats, 1)) * 0.2 + x


class RRDBNet(nn.Module):
    def __init__(self, in_nc, out_nc, nf, nb, gc, scale):
        super().__init__()
        self.scale = scale
        self.conv_first = nn.Conv2d(in_nc, nf, 3, 1, 1)
        self.trunk = nn.Sequential(*[nn.Sequential(*[ResidualDenseBlock(nf, gc) for _ in range(3)]) for _ in range(nb)])
        self.trunk_conv = nn.Conv2d(nf, nf, 3, 1, 1)
        self.upconv1, self.upconv2 = nn.Conv2d(nf, nf, 3, 1, 1), nn.Conv2d(nf, nf, 3, 1, 1)
        self.hr_conv, self.conv_last = nn.Conv2d(nf, nf, 3, 1, 1), nn.Conv2d(nf, out_nc, 3, 1, 1)
        self.lrelu = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, x):
        fea = self.conv_first(x)
        fea = fea + self.trunk_conv(self.trunk(fea))
        if self.scale == 4:
            fea = self.lrelu(self.upconv1(F.interpolate(fea, scale_factor=2, mode='nearest')))
            fea = self.lrelu(self.upconv2(F.interpolate(fea, scale_factor=2, mode='nearest')))
        else:
            fea = self.lrelu(self.upconv1(F.interpolate(fea, scale_factor=self.scale, mode='nearest')))
        return self.conv_last(self.lrelu(self.hr_conv(fea)))


class FeatureExtractor(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, 1, 1))
        self.register_buffer('mean', torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.requires_grad_(False)

    def forward(self, x):
        return self.features(x - self.mean)


class LRHRDataset:
    def __init__(self, opt, scale):
        self.opt, self.scale = opt, scale

    def __getitem__(self, index):
        lr = torch.rand(3, 60, 80)
        hr = F.interpolate(lr[None], scale_factor=self.scale, mode='bicubic').clamp(0, 1)[0]
        lr_size = self.opt['gt_size'] // self.scale
        top, left = random.randint(0, 60 - lr_size - 1), random.randint(0, 80 - lr_size - 1)
        lr = lr[:, top:top + lr_size, left:left + lr_size]
        top, left = top * self.scale, left * self.scale
        hr = hr[:, top:top + self.opt['gt_size'], left:left + self.opt['gt_size']]
        if self.opt['use_flip'] and random.random() < 0.5:
            lr, hr = lr.flip(-1), hr.flip(-1)
        return {'LR': lr, 'GT': hr}


class SRModel(nn.Module):
    def __init__(self, opt):
        super().__init__()
        self.netG = RRDBNet(scale=opt['scale'], **opt['network_g'])
        self.netF = FeatureExtractor()
        self.cri_pix, self.cri_fea = nn.L1Loss(), nn.L1Loss()
        self.l_pix_w, self.l_fea_w = opt['train']['pixel_weight'], opt['train']['feature_weight']

    def feed_data(self, data):
        self.var_L, self.var_H = data['LR'], data['GT']

    def forward(self):
        self.fake_H = self.netG(self.var_L)
        l_g_pix = self.l_pix_w * self.cri_pix(self.fake_H, self.var_H)
        l_g_fea = self.l_fea_w * self.cri_fea(self.netF(self.fake_H), self.netF(self.var_H).detach())
        return l_g_pix + l_g_fea


def build():
    return SRModel(OPT)


def step(model):
    opt = OPT['datasets']['train']
    random.seed(7)
    dataset = LRHRDataset(opt, OPT['scale'])
    items = [dataset[i] for i in range(opt['batch_size'])]
    model.feed_data({k: torch.stack([item[k] for item in items]) for k in items[0]})
    return model()


# real fix: 'gt_size': 126 (a multiple of 3)
# offending tensor: var_H (2, 3, 128, 128); the network gives 3 * 42 = 126
TRUTH = dict(raises='RuntimeError', at='loss:l1_loss', culprits=['target', 'function:getitem', 'input'], dim=3, got=128, wanted=126,
             hint_any=['multiple', '126', 'divis', 'crop', 'gt_size'])
MENDED = [("'gt_size': 128", "'gt_size': 126")]
