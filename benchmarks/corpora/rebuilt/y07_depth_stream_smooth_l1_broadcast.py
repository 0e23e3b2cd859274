import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/jiwei0921/CoNet/issues/3'
CATEGORY = 'silent'
DESCRIPTION = 'RGB-D saliency: depth labels (2, H, W) against depth predictions (2, 1, H, W) in smooth_l1_loss broadcast to (2, 2, H, W).'


def conv_block(cin, cout, stride=1):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, stride, 1), nn.BatchNorm2d(cout), nn.ReLU(inplace=True))


class Encoder(nn.Module):
    def __init__(self, widths=(12, 16, 24)):
        super().__init__()
        blocks, cin = [], 3
        for w in widths:
            blocks.append(conv_block(cin, w, 2))
            cin = w
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x):
        feats = []
        for block in self.blocks:
            x = block(x)
            feats.append(x)
        return feats


class Collaborator(nn.Module):
    def __init__(self, cin, size):
        super().__init__()
        self.size = size
        self.att = nn.Conv2d(cin, 1, 1)
        self.out = nn.Conv2d(cin, 1, 3, padding=1)

    def forward(self, x):
        x = x * torch.sigmoid(self.att(x))
        return F.interpolate(self.out(x), size=self.size, mode='bilinear', align_corners=False)


class CoNet(nn.Module):
    def __init__(self, size=48):
        super().__init__()
        self.encoder = Encoder()
        self.edge, self.saliency = Collaborator(12, size), Collaborator(24, size)
        self.low_depth, self.high_depth = Collaborator(16, size), Collaborator(24, size)

    def forward(self, x):
        low, mid, high = self.encoder(x)
        return (self.edge(low), self.saliency(high),
                torch.sigmoid(self.low_depth(mid)), torch.sigmoid(self.high_depth(high)))


class RGBDData(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        g = torch.Generator().manual_seed(i)
        img = torch.rand(3, 48, 48, generator=g)
        label = (torch.rand(48, 48, generator=g) < 0.3).long()
        depth = torch.rand(48, 48, generator=g) * 0.2 + 0.8 * (i % 2)
        return img, label, depth, label.float().unsqueeze(0)


def build():
    return CoNet()


def step(model):
    loader = torch.utils.data.DataLoader(RGBDData(), batch_size=2)
    img, label, depth, edge = next(iter(loader))
    edge_pred, sal_pred, low_depth, high_depth = model(img)
    loss1 = F.binary_cross_entropy_with_logits(edge_pred, edge, reduction='sum')
    loss2 = F.binary_cross_entropy_with_logits(sal_pred.squeeze(1), label.float(), reduction='sum')
    loss4 = F.smooth_l1_loss(high_depth, depth, reduction='sum')
    return (loss1 + loss2 + loss4) / img.size(0)


# real fix: target = target.unsqueeze(1)
TRUTH = dict(raises=None, at='loss:smooth_l1_loss', culprits=['target'], dim=1, got=None, wanted=1,
             hint_any=['unsqueeze', 'broadcast', 'squeeze', '(2, 2, 48, 48)'])
MENDED = [('F.smooth_l1_loss(high_depth, depth,', 'F.smooth_l1_loss(high_depth, depth.unsqueeze(1),')]
