import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/Aitical/SCNet/issues/5 (config in the report)'
CATEGORY = 'loss'
DESCRIPTION = ('Super resolution with 1x1 convolutions in BasicSR style: scale: 2 and data of X2, but network_g keeps upscale: 4; '
               'LR patches of 24 become 96, GT patches are 48.')

opt = dict(
    name='scnet', scale=2,
    datasets=dict(train=dict(name='DF2K_X2', gt_size=48, use_hflip=True, batch_size_per_gpu=4)),
    network_g=dict(num_in_ch=3, num_out_ch=3, num_feat=16, num_block=4, upscale=4),
    train=dict(pixel_opt=dict(loss_weight=1.0, reduction='mean')))


class ShiftConv2d1x1(nn.Module):
    def __init__(self, nf):
        super().__init__()
        self.conv = nn.Conv2d(nf, nf, 1)

    def forward(self, x):
        groups = list(x.chunk(4, dim=1))
        for i, (dim, by) in enumerate(((2, 1), (2, -1), (3, 1), (3, -1))):
            groups[i] = torch.roll(groups[i], by, dim)
        return self.conv(torch.cat(groups, dim=1))


class SCBlock(nn.Module):
    def __init__(self, nf):
        super().__init__()
        self.conv1, self.conv2 = ShiftConv2d1x1(nf), nn.Conv2d(nf, nf, 1)

    def forward(self, x):
        return x + self.conv2(F.relu(self.conv1(x)))


class SCNet(nn.Module):
    def __init__(self, num_in_ch, num_out_ch, num_feat, num_block, upscale):
        super().__init__()
        self.upscale = upscale
        self.conv_first = nn.Conv2d(num_in_ch, num_feat, 1)
        self.body = nn.Sequential(*[SCBlock(num_feat) for _ in range(num_block)])
        ups = []
        for _ in range({1: 0, 2: 1, 4: 2}[upscale]):
            ups += [nn.Conv2d(num_feat, num_feat * 4, 1), nn.PixelShuffle(2), nn.LeakyReLU(0.1)]
        self.upsampler = nn.Sequential(*ups)
        self.conv_last = nn.Conv2d(num_feat, num_out_ch, 1)

    def forward(self, x):
        out = self.body(self.conv_first(x))
        out = self.conv_last(self.upsampler(out))
        return out + F.interpolate(x, scale_factor=self.upscale, mode='bilinear', align_corners=False)


def paired_random_crop(gt, lq, gt_patch_size, scale):
    size = gt_patch_size // scale
    top, left = torch.randint(0, lq.size(1) - size + 1, (2,)).tolist()
    return (gt[:, top * scale:(top + size) * scale, left * scale:(left + size) * scale], lq[:, top:top + size, left:left + size])


class PairedImageDataset(torch.utils.data.Dataset):
    def __init__(self, gt_size, scale, length=8):
        self.gt_size, self.scale, self.length = gt_size, scale, length

    def __len__(self):
        return self.length

    def __getitem__(self, i):
        gt = torch.rand(3, 96, 128)
        lq = F.avg_pool2d(gt, self.scale)
        return dict(zip(('gt', 'lq'), paired_random_crop(gt, lq, self.gt_size, self.scale)))


def build():
    return SCNet(**opt['network_g'])


def step(model):
    data_opt = opt['datasets']['train']
    loader = torch.utils.data.DataLoader(PairedImageDataset(data_opt['gt_size'], opt['scale']), data_opt['batch_size_per_gpu'])
    data = next(iter(loader))
    output = model(data['lq'])
    return F.l1_loss(output, data['gt'])


# upscale: 2
TRUTH = dict(raises='RuntimeError', at='loss:l1_loss',
             culprits=['upsampler', 'upsampler.0', 'upsampler.1', 'upsampler.3', 'upsampler.4', 'function:interpolate'],
             dim=None, got=None, wanted=None, hint_any=['upsampl', 'scale', 'pixelshuffle', 'upscale'])
MENDED = [('num_block=4, upscale=4', 'num_block=4, upscale=2')]
