import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/likyoo/change_detection.pytorch/issues/5 (2 against 8; with a loader of its own the labels were (8, H, W))'
CATEGORY = 'layer'
DESCRIPTION = ('Change detection: CrossEntropyLoss is exchanged for the batch-balanced contrastive loss, which takes one distance map a pair; the network '
               'keeps classes=2, and (8,2,H,W) meets the labels (8,H,W).')


class Encoder(nn.Module):
    def __init__(self, in_channels=3, widths=(8, 16, 24)):
        super().__init__()
        self.stages = nn.ModuleList()
        for w in widths:
            self.stages.append(nn.Sequential(nn.Conv2d(in_channels, w, 3, stride=2, padding=1), nn.BatchNorm2d(w), nn.ReLU()))
            in_channels = w
        self.out_channels = widths

    def forward(self, x):
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class UnetDecoder(nn.Module):
    def __init__(self, encoder_channels, decoder_channels=(16, 12), fusion_form='concat'):
        super().__init__()
        self.fusion_form = fusion_form
        enc = [c * (2 if fusion_form == 'concat' else 1) for c in encoder_channels][::-1]
        ins = [enc[0]] + list(decoder_channels[:-1])
        self.blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(i + s, o, 3, padding=1), nn.ReLU()) for i, s, o in zip(ins, enc[1:], decoder_channels))

    def fusion(self, f1, f2):
        if self.fusion_form == 'concat':
            return [torch.cat(f, dim=1) for f in zip(f1, f2)]
        return [torch.abs(a - b) for a, b in zip(f1, f2)]

    def forward(self, features1, features2):
        features = self.fusion(features1, features2)[::-1]
        x = features[0]
        for block, skip in zip(self.blocks, features[1:]):
            x = block(torch.cat([F.interpolate(x, scale_factor=2, mode='nearest'), skip], dim=1))
        return x


class SegmentationHead(nn.Sequential):
    def __init__(self, in_channels, out_channels, upsampling=2):
        super().__init__(nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.UpsamplingBilinear2d(scale_factor=upsampling))


class Unet(nn.Module):
    def __init__(self, in_channels=3, classes=2, siam_encoder=True, fusion_form='concat'):
        super().__init__()
        self.encoder = Encoder(in_channels)
        self.decoder = UnetDecoder(self.encoder.out_channels, fusion_form=fusion_form)
        self.segmentation_head = SegmentationHead(12, classes)

    def forward(self, x1, x2):
        return self.segmentation_head(self.decoder(self.encoder(x1), self.encoder(x2)))


class BCLLoss(nn.Module):
    """batch-balanced contrastive loss, no-change 0, change 1"""

    def __init__(self, margin=2.0, eps=1e-4):
        super().__init__()
        self.margin, self.eps = margin, eps

    def forward(self, pred, y):
        y = y.float()
        pos_num = torch.sum(y) + self.eps
        neg_num = torch.sum(1 - y) + self.eps
        loss_1 = torch.sum((1 - y) * torch.pow(pred, 2)) / neg_num
        loss_2 = torch.sum(y * torch.pow(torch.clamp(self.margin - pred, min=0.0), 2)) / pos_num
        return loss_1 + loss_2


class TrainEpoch:
    def __init__(self, model, loss):
        self.model, self.loss = model, loss

    def batch_update(self, x1, x2, y):
        prediction = self.model(x1, x2)
        return self.loss(prediction, y)


def build():
    torch.manual_seed(0)
    return Unet(in_channels=3, classes=2, siam_encoder=True, fusion_form='concat')


def step(model):
    size = 64
    x1, x2 = torch.rand(8, 3, size, size), torch.rand(8, 3, size, size)
    gt = torch.zeros(8, size, size).long()
    gt[:, 20:40, 10:30] = 1
    train_epoch = TrainEpoch(model, loss=BCLLoss())
    return train_epoch.batch_update(x1, x2, gt)


# real answer: classes=1 (and squeeze the channel) for this loss, or one-hot labels
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['segmentation_head.0', 'target', 'function:mul'], dim=1, got=2, wanted=1,
             hint_any=['segmentation_head', 'channel', 'classes', 'one-hot', 'squeeze'])
MENDED = [('classes=2, siam_encoder=True, fusion_form=\'concat\')\n\n\ndef step', 'classes=1, siam_encoder=True, fusion_form=\'concat\')\n\n\ndef step'),
          ('        return self.loss(prediction, y)', '        return self.loss(prediction.squeeze(1), y)')]
