import torch
import torch.nn as nn
import torch.nn.functional as F
SOURCE = 'https://github.com/geekyutao/RN/issues/15'
CATEGORY = 'layer'
DESCRIPTION = 'Region normalisation multiplies features with the mask, which was read as a picture of three channels'

class RN_binary(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.bn_norm = nn.BatchNorm2d(channels, affine=False, track_running_stats=False)

    def rn(self, region, mask):
        shape = region.size()
        total = torch.sum(region, dim=[0, 2, 3])
        sr = torch.sum(mask, dim=[0, 2, 3])
        sr = torch.where(sr == 0, torch.ones_like(sr), sr)
        mu = total / sr
        return self.bn_norm(region + (1 - mask) * mu[None, :, None, None]) * torch.sqrt(sr / (shape[0] * shape[2] * shape[3]))[None, :, None, None]

    def forward(self, x, label):
        rn_foreground_region = self.rn(x * label, label)
        rn_background_region = self.rn(x * (1 - label), 1 - label)
        return rn_foreground_region + rn_background_region

class RN_B(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.rn = RN_binary(channels)
        self.gamma = nn.Parameter(torch.ones(channels))

    def forward(self, x, mask):
        mask = F.interpolate(mask, size=x.size()[2:], mode='nearest')
        return self.rn(x, mask) * self.gamma[None, :, None, None]

class Inpaint(nn.Module):
    def __init__(self, ch=16):
        super().__init__()
        self.encoder_conv1 = nn.Conv2d(6, ch, 7, padding=3)
        self.encoder_in1 = RN_B(ch)
        self.decoder = nn.Conv2d(ch, 3, 3, padding=1)

    def forward(self, gt, mask):
        x = torch.cat([gt * (1 - mask), mask], dim=1)
        x = F.relu(self.encoder_in1(self.encoder_conv1(x), mask))
        return torch.sigmoid(self.decoder(x))

def build():
    torch.manual_seed(0)
    return Inpaint()

class Pairs(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, i):
        image = torch.rand(3, 32, 32)
        mask = (torch.rand(1, 32, 32) > 0.7).float().repeat(3, 1, 1)
        return image, mask

def step(model):
    gt, mask = next(iter(torch.utils.data.DataLoader(Pairs(), batch_size=4)))
    return F.l1_loss(model(gt, mask), gt)

TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['input', 'function:repeat'], dim=1, got=3, wanted=1, hint_any=['mask', '3'])
MENDED = [('.repeat(3, 1, 1)', ''), ('nn.Conv2d(6, ch', 'nn.Conv2d(4, ch')]
