import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/sunjesse/shape-attentive-unet/issues/8'
CATEGORY = 'loss'
DESCRIPTION = 'Cardiac magnetic resonance: one stream segments the chambers, a second one their outline; both are supervised.'


class GatedSpatialConv2d(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self._gate_conv = nn.Sequential(nn.BatchNorm2d(in_channels + 1), nn.Conv2d(in_channels + 1, in_channels + 1, 1), nn.ReLU(),
                                        nn.Conv2d(in_channels + 1, 1, 1), nn.Sigmoid())
        self.conv = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, input_features, gating_features):
        alphas = self._gate_conv(torch.cat([input_features, gating_features], dim=1))
        return self.conv(input_features * (alphas + 1))


class SAUNet(nn.Module):
    def __init__(self, num_classes=4, width=8):
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.conv2 = nn.Sequential(nn.Conv2d(width, width * 2, 3, padding=1), nn.BatchNorm2d(width * 2), nn.ReLU())
        self.c3 = nn.Conv2d(width * 2, 1, 1)
        self.d0 = nn.Conv2d(width, width, 1)
        self.gate1 = GatedSpatialConv2d(width, width)
        self.fuse = nn.Conv2d(width, 1, 1)
        self.expand = nn.Conv2d(1, width, 1)
        self.up = nn.ConvTranspose2d(width * 2, width, 2, stride=2)
        self.final = nn.Conv2d(width * 3, num_classes, 1)

    def forward(self, x):
        conv1 = self.conv1(x)
        conv2 = self.conv2(F.max_pool2d(conv1, 2))
        ss = F.interpolate(self.c3(conv2), x.shape[2:], mode='bilinear', align_corners=True)
        ss = self.gate1(self.d0(conv1), ss)
        edge_out = torch.sigmoid(self.fuse(ss))
        edge = F.relu(self.expand(edge_out))
        return self.final(torch.cat([self.up(conv2), conv1, edge], dim=1)), edge_out


class DualLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.bce = nn.BCELoss()

    def forward(self, inputs, targets):
        seg, edge = inputs
        segmask, edgemask = targets
        return F.cross_entropy(seg, segmask) + self.bce(edge, edgemask)


class SegmentationModule(nn.Module):
    def __init__(self, net, crit):
        super().__init__()
        self.unet = net
        self.crit = crit

    def forward(self, feed_dict):
        p = self.unet(feed_dict['image'])
        return self.crit((p[0], p[1]), (feed_dict['mask'][0].long(), feed_dict['mask'][1]))


def edges_of(mask):
    edge = torch.zeros_like(mask, dtype=torch.float32)
    edge[:, 1:] += (mask[:, 1:] != mask[:, :-1]).float()
    edge[:, :, 1:] += (mask[:, :, 1:] != mask[:, :, :-1]).float()
    return edge.clamp(max=1)


def build():
    torch.manual_seed(0)
    return SegmentationModule(SAUNet(), DualLoss())


def step(model):
    g = torch.Generator().manual_seed(1)
    y, x = torch.meshgrid(torch.arange(128), torch.arange(128), indexing='ij')
    radius = ((y - 64) ** 2 + (x - 60) ** 2).float().sqrt()
    mask = (3 - (radius / 15).long()).clamp(min=0).unsqueeze(0)
    image = mask.unsqueeze(1).float() + torch.randn(1, 1, 128, 128, generator=g)
    return model({'image': image, 'mask': (mask, edges_of(mask))})


# the outline of the labels has no channel: (1, 128, 128) and not (1, 1, 128, 128)
TRUTH = dict(raises='ValueError', at='function:binary_cross_entropy', culprits=['target'], dim=None, got=None, wanted=None,
             hint_any=['unsqueeze', 'channel', 'target'])
MENDED = [("feed_dict['mask'][1]))", "feed_dict['mask'][1].unsqueeze(1)))")]
