import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/winwinwenwen77/ModularBVQA/issues/1'
CATEGORY = 'layer'
DESCRIPTION = 'SlowFast features of a video with one frame more than the others: the lateral connection cannot be concatenated.'


class ResBlock(nn.Module):
    def __init__(self, dim_in, dim_out, kernel_t, stride):
        super().__init__()
        self.branch1 = nn.Conv3d(dim_in, dim_out, 1, (1, stride, stride), bias=False)
        self.a = nn.Conv3d(dim_in, dim_out // 2, (kernel_t, 1, 1), padding=(kernel_t // 2, 0, 0), bias=False)
        self.b = nn.Conv3d(dim_out // 2, dim_out, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False)
        self.bn = nn.BatchNorm3d(dim_out)

    def forward(self, x):
        return F.relu(self.branch1(x) + self.bn(self.b(F.relu(self.a(x)))))


class FuseFastToSlow(nn.Module):
    def __init__(self, dim_in, alpha, conv_ratio=2, kernel=7):
        super().__init__()
        self.conv_f2s = nn.Conv3d(dim_in, dim_in * conv_ratio, (kernel, 1, 1), (alpha, 1, 1), (kernel // 2, 0, 0), bias=False)
        self.bn = nn.BatchNorm3d(dim_in * conv_ratio)

    def forward(self, x):
        x_s, x_f = x
        fuse = F.relu(self.bn(self.conv_f2s(x_f)))
        x_s_fuse = torch.cat([x_s, fuse], 1)
        return [x_s_fuse, x_f]


class MultiPathway(nn.Module):
    def __init__(self, *paths):
        super().__init__()
        self.multipathway_blocks = nn.ModuleList(paths)

    def forward(self, x):
        return [path(p) for path, p in zip(self.multipathway_blocks, x)]


def stem(dim_out, kernel_t):
    return nn.Sequential(nn.Conv3d(3, dim_out, (kernel_t, 3, 3), (1, 2, 2), (kernel_t // 2, 1, 1), bias=False),
                         nn.BatchNorm3d(dim_out), nn.ReLU())


class SlowFast(nn.Module):
    def __init__(self, alpha=4, slow=16, fast=4):
        super().__init__()
        self.s1 = MultiPathway(stem(slow, 1), stem(fast, 5))
        self.s1_fuse = FuseFastToSlow(fast, alpha)
        self.s2 = MultiPathway(ResBlock(slow + 2 * fast, 2 * slow, 1, 2), ResBlock(fast, 2 * fast, 3, 2))
        self.s2_fuse = FuseFastToSlow(2 * fast, alpha)
        self.s3 = MultiPathway(ResBlock(2 * slow + 4 * fast, 4 * slow, 3, 2), ResBlock(2 * fast, 4 * fast, 3, 2))
        self.pool = nn.AdaptiveAvgPool3d(1)

    def forward(self, x):
        x = self.s1_fuse(self.s1(x))
        x = self.s2_fuse(self.s2(x))
        slow, fast = self.s3(x)
        return self.pool(slow).flatten(1), self.pool(fast).flatten(1)


class QualityModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = SlowFast()
        self.regressor = nn.Linear(64 + 16, 1)

    def forward(self, pathways):
        return self.regressor(torch.cat(self.backbone(pathways), dim=1)).squeeze(1)


def pack_pathway_output(frames, alpha=4):
    fast_pathway = frames
    index = torch.linspace(0, frames.shape[2] - 1, frames.shape[2] // alpha).long()
    slow_pathway = torch.index_select(frames, 2, index)
    return [slow_pathway, fast_pathway]


def build():
    return QualityModel()


def step(model):
    videos = [torch.randn(1, 3, n, 32, 32) for n in (32, 32, 33)]
    scores = torch.rand(3)
    predicted = torch.cat([model(pack_pathway_output(video)) for video in videos])
    return F.l1_loss(predicted, scores)


# real cause: 33 frames give 33 // 4 = 8 slow frames, but the strided lateral convolution gives 9; leave a frame out or round up
# offending tensor: fuse (1, 8, 9, 16, 16) against x_s (1, 16, 8, 16, 16)
TRUTH = dict(raises='RuntimeError', at='function:cat', culprits=['input', 'function:index_select', 'function:linspace'], dim=2, got=9, wanted=8,
             hint_any=['frame', 'multiple', 'divis', 'alpha', 'stride', '33'])
MENDED = [('frames.shape[2] // alpha)', '-(-frames.shape[2] // alpha))')]
