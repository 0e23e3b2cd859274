import timm
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/huggingface/pytorch-image-models/issues/1438'
CATEGORY = 'layer'
DESCRIPTION = 'FPN segmentation over timm backbones: the ResNet gave (B,C,H,W) features, swin with features_only=True gives (B,H,W,C).'


class ConvBNReLU(nn.Sequential):
    def __init__(self, cin, cout, k=3):
        super().__init__(nn.Conv2d(cin, cout, k, padding=k // 2, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True))


class FPNDecoder(nn.Module):
    def __init__(self, encoder_channels, pyramid=32, seg=16, dropout=0.2):
        super().__init__()
        self.laterals = nn.ModuleList([nn.Conv2d(c, pyramid, kernel_size=1) for c in encoder_channels])
        self.smooth = nn.ModuleList([ConvBNReLU(pyramid, seg) for _ in encoder_channels])
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, features):
        tops, x = [], None
        for lateral, f in zip(reversed(self.laterals), reversed(features)):
            f = lateral(f)
            x = f if x is None else f + F.interpolate(x, size=f.shape[-2:], mode='nearest')
            tops.append(x)
        size = tops[-1].shape[-2:]
        outs = [F.interpolate(s(t), size=size, mode='bilinear', align_corners=False) for s, t in zip(self.smooth, tops)]
        return self.dropout(sum(outs))


class TimmUniversalEncoder(nn.Module):
    def __init__(self, name, **kwargs):
        super().__init__()
        self.model = timm.create_model(name, pretrained=False, features_only=True, **kwargs)

    @property
    def out_channels(self):
        return self.model.feature_info.channels()

    def forward(self, x):
        return list(self.model(x))


class FPN(nn.Module):
    def __init__(self, encoder_name, classes, encoder_kwargs=None):
        super().__init__()
        self.encoder = TimmUniversalEncoder(encoder_name, **(encoder_kwargs or {}))
        self.decoder = FPNDecoder(self.encoder.out_channels)
        self.segmentation_head = nn.Conv2d(16, classes, 3, padding=1)
        self.aux_head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, classes))

    def forward(self, x):
        features = self.encoder(x)
        d = self.decoder(features)
        masks = F.interpolate(self.segmentation_head(d), size=x.shape[-2:], mode='bilinear', align_corners=False)
        return masks, self.aux_head(d)


def dice_loss(logits, target, eps=1.0):
    p = logits.softmax(1)
    t = F.one_hot(target, logits.size(1)).permute(0, 3, 1, 2).float()
    inter = (p * t).sum((0, 2, 3))
    return 1 - ((2 * inter + eps) / (p.sum((0, 2, 3)) + t.sum((0, 2, 3)) + eps)).mean()


def build():
    kwargs = dict(img_size=96, window_size=3, embed_dim=24, depths=(1, 1, 2, 1), num_heads=(1, 2, 4, 8))
    return FPN('swin_tiny_patch4_window7_224', classes=5, encoder_kwargs=kwargs)


def step(model):
    x = torch.randn(2, 3, 96, 96)
    y = torch.randint(0, 5, (2, 96, 96))
    masks, labels = model(x)
    present = torch.zeros(2, 5).scatter_(1, y.flatten(1), 1.0)
    return F.cross_entropy(masks, y) + dice_loss(masks, y) + 0.1 * F.binary_cross_entropy_with_logits(labels, present)


# real fix: features = [f.permute(0, 3, 1, 2) for f in self.model(x)] for the channels-last backbones
# offending tensor: last feature (2, 3, 3, 192) for decoder.laterals.3, Conv2d(192, 32)
TRUTH = dict(raises='RuntimeError', at='module:decoder.laterals.3',
             culprits=['encoder', 'encoder.model', 'encoder.model.layers_3', 'encoder.model.layers_3.blocks.0'], dim=1, got=3,
             wanted=192, hint_any=['permute', 'channels-last', 'channels last', 'channels_last', 'nhwc', 'last dim'])
MENDED = [('return list(self.model(x))', 'return [f.permute(0, 3, 1, 2).contiguous() for f in self.model(x)]')]
