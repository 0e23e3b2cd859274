import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/winwinwenwen77/ModularBVQA/issues/1'
CATEGORY = 'layer'
DESCRIPTION = 'SlowFast on whole videos: 33 frames give 8 slow frames, but the strided lateral convolution makes 9 of the fast ones.'


class FuseFastToSlow(nn.Module):
    def __init__(self, fast_dim, fusion_ratio=2, kernel=7, alpha=4):
        super().__init__()
        self.conv_fast_to_slow = nn.Conv3d(fast_dim, fast_dim * fusion_ratio, [kernel, 1, 1],
                                           stride=[alpha, 1, 1], padding=[kernel // 2, 0, 0], bias=False)
        self.norm = nn.BatchNorm3d(fast_dim * fusion_ratio)
        self.activation = nn.ReLU()

    def forward(self, x):
        x_s, x_f = x
        fuse = self.activation(self.norm(self.conv_fast_to_slow(x_f)))
        x_s_fuse = torch.cat([x_s, fuse], 1)
        return [x_s_fuse, x_f]


class MultiPathWayWithFuse(nn.Module):
    def __init__(self, blocks, fusion=None):
        super().__init__()
        self.multipathway_blocks = nn.ModuleList(blocks)
        self.multipathway_fusion = fusion

    def forward(self, x):
        x = [block(path) for block, path in zip(self.multipathway_blocks, x)]
        return self.multipathway_fusion(x) if self.multipathway_fusion is not None else x


def conv_block(dim_in, dim_out, kernel, stride):
    return nn.Sequential(nn.Conv3d(dim_in, dim_out, kernel, (1, stride, stride), [k // 2 for k in kernel], bias=False),
                         nn.BatchNorm3d(dim_out), nn.ReLU())


class SlowFast(nn.Module):
    def __init__(self, num_outputs=1, alpha=4, beta_inv=4, width=16):
        super().__init__()
        fast = width // beta_inv
        dims = [(3, width, 3, fast), (width + 2 * fast, width * 2, fast, fast * 2)]
        self.blocks = nn.ModuleList()
        for i, (s_in, s_out, f_in, f_out) in enumerate(dims):
            self.blocks.append(MultiPathWayWithFuse(
                [conv_block(s_in, s_out, (1, 3, 3), 2), conv_block(f_in, f_out, (3, 3, 3), 2)],
                FuseFastToSlow(f_out, alpha=alpha)))
        self.blocks.append(MultiPathWayWithFuse([nn.AdaptiveAvgPool3d(1), nn.AdaptiveAvgPool3d(1)]))
        self.proj = nn.Linear(width * 2 + 4 * fast + fast * 2, num_outputs)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.proj(torch.cat(x, 1).flatten(1))


def pack_pathway_output(frames, alpha=4):
    fast_pathway = frames
    slow_pathway = torch.index_select(
        frames, 2, torch.linspace(0, frames.shape[2] - 1, frames.shape[2] // alpha).long())
    return [slow_pathway, fast_pathway]


def videos():
    for num_frames, mos in [(32, 3.1), (48, 2.4), (33, 4.0)]:
        yield torch.rand(1, 3, num_frames, 32, 32), torch.tensor([[mos]])


def build():
    return SlowFast()


def step(model):
    loss = 0
    for clip, mos in videos():
        inputs = pack_pathway_output(clip)
        loss = loss + F.l1_loss(model(inputs), mos)
    return loss / 3


# real fix: a number of frames that alpha = 4 divides (or skip the video)
# offending tensors: x_s (1, 16, 8, 16, 16), fuse (1, 8, 9, 16, 16)
TRUTH = dict(raises='RuntimeError', at='function:cat', culprits=['input', 'function:index_select', 'function:linspace'], dim=2, got=8, wanted=9,
             hint_any=['33', 'frames', 'divisible', 'multiple of 4', 'alpha', 'stride'])
MENDED = [('(33, 4.0)', '(32, 4.0)')]
