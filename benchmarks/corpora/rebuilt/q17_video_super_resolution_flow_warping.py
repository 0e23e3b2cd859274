import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/open-mmlab/mmagic/issues/638'
CATEGORY = 'correct'
DESCRIPTION = 'flow_warp of BasicVSR: a reader doubts the order and the shape of the grid (the comment said w, h); x comes first, the grid is (h, w, 2), and so it is right, with heights unlike widths.'


def flow_warp(x, flow, interpolation='bilinear', padding_mode='zeros', align_corners=True):
    if x.size()[-2:] != flow.size()[1:3]:
        raise ValueError(f'The spatial sizes of input ({x.size()[-2:]}) and flow ({flow.size()[1:3]}) are not the same.')
    _, _, h, w = x.size()
    grid_y, grid_x = torch.meshgrid(torch.arange(0, h), torch.arange(0, w), indexing='ij')
    grid = torch.stack((grid_x, grid_y), 2).type_as(x)
    grid.requires_grad = False
    grid_flow = grid + flow
    grid_flow_x = 2.0 * grid_flow[:, :, :, 0] / max(w - 1, 1) - 1.0
    grid_flow_y = 2.0 * grid_flow[:, :, :, 1] / max(h - 1, 1) - 1.0
    grid_flow = torch.stack((grid_flow_x, grid_flow_y), dim=3)
    return F.grid_sample(x, grid_flow, mode=interpolation, padding_mode=padding_mode, align_corners=align_corners)


class ResidualBlockNoBN(nn.Module):
    def __init__(self, mid_channels):
        super().__init__()
        self.conv1 = nn.Conv2d(mid_channels, mid_channels, 3, 1, 1)
        self.conv2 = nn.Conv2d(mid_channels, mid_channels, 3, 1, 1)

    def forward(self, x):
        return x + self.conv2(F.relu(self.conv1(x)))


class FlowNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.basic_module = nn.Sequential(nn.Conv2d(6, 16, 7, 1, 3), nn.ReLU(), nn.Conv2d(16, 16, 7, 1, 3), nn.ReLU(), nn.Conv2d(16, 2, 7, 1, 3))

    def forward(self, ref, supp):
        return self.basic_module(torch.cat([ref, supp], 1))


class BasicVSRNet(nn.Module):
    def __init__(self, mid_channels=12, num_blocks=2):
        super().__init__()
        self.mid_channels = mid_channels
        self.spynet = FlowNet()
        self.backward_resblocks = nn.Sequential(nn.Conv2d(mid_channels + 3, mid_channels, 3, 1, 1), *[ResidualBlockNoBN(mid_channels) for _ in range(num_blocks)])
        self.forward_resblocks = nn.Sequential(nn.Conv2d(mid_channels + 3, mid_channels, 3, 1, 1), *[ResidualBlockNoBN(mid_channels) for _ in range(num_blocks)])
        self.fusion = nn.Conv2d(mid_channels * 2, mid_channels, 1, 1, 0)
        self.upsample = nn.Sequential(nn.Conv2d(mid_channels, 3 * 16, 3, 1, 1), nn.PixelShuffle(4))

    def compute_flow(self, lrs):
        n, t, c, h, w = lrs.size()
        lrs_1 = lrs[:, :-1, :, :, :].reshape(-1, c, h, w)
        lrs_2 = lrs[:, 1:, :, :, :].reshape(-1, c, h, w)
        flows_backward = self.spynet(lrs_1, lrs_2).view(n, t - 1, 2, h, w)
        flows_forward = self.spynet(lrs_2, lrs_1).view(n, t - 1, 2, h, w)
        return flows_forward, flows_backward

    def forward(self, lrs):
        n, t, c, h, w = lrs.size()
        flows_forward, flows_backward = self.compute_flow(lrs)
        outputs = []
        feat_prop = lrs.new_zeros(n, self.mid_channels, h, w)
        for i in range(t - 1, -1, -1):
            if i < t - 1:
                feat_prop = flow_warp(feat_prop, flows_backward[:, i].permute(0, 2, 3, 1))
            feat_prop = self.backward_resblocks(torch.cat([lrs[:, i], feat_prop], dim=1))
            outputs.append(feat_prop)
        outputs = outputs[::-1]
        feat_prop = torch.zeros_like(feat_prop)
        for i in range(0, t):
            lr_curr = lrs[:, i]
            if i > 0:
                feat_prop = flow_warp(feat_prop, flows_forward[:, i - 1].permute(0, 2, 3, 1))
            feat_prop = self.forward_resblocks(torch.cat([lr_curr, feat_prop], dim=1))
            out = self.fusion(torch.cat([outputs[i], feat_prop], dim=1))
            base = F.interpolate(lr_curr, scale_factor=4, mode='bilinear', align_corners=False)
            outputs[i] = self.upsample(F.leaky_relu(out, 0.1)) + base
        return torch.stack(outputs, dim=1)


def charbonnier(pred, target, eps=1e-12):
    return torch.sqrt((pred - target) ** 2 + eps).mean()


def build():
    return BasicVSRNet()


def step(model):
    gt = torch.rand(2, 3, 3, 48, 64)
    lq = F.interpolate(gt.flatten(0, 1), scale_factor=0.25, mode='area').view(2, 3, 3, 12, 16)
    optimizer = torch.optim.Adam([dict(params=model.spynet.parameters(), lr=2.5e-5),
                                  dict(params=[p for n, p in model.named_parameters() if 'spynet' not in n])], lr=2e-4, betas=(0.9, 0.99))
    for _ in range(2):
        loss = charbonnier(model(lq), gt)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
