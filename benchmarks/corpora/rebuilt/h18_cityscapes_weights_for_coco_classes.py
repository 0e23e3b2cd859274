import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/Tramac/Fast-SCNN-pytorch/issues/21'
CATEGORY = 'loss'
DESCRIPTION = 'Fast-SCNN is trained on another data set with 21 classes, the OHEM criterion keeps its list of 19 class weights of Cityscapes.'


class _ConvBNReLU(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size=3, stride=1, padding=0):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False),
            nn.BatchNorm2d(out_channels), nn.ReLU(True))

    def forward(self, x):
        return self.conv(x)


class _DSConv(nn.Module):
    def __init__(self, dw_channels, out_channels, stride=1):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(dw_channels, dw_channels, 3, stride, 1, groups=dw_channels, bias=False),
            nn.BatchNorm2d(dw_channels), nn.ReLU(True),
            nn.Conv2d(dw_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU(True))

    def forward(self, x):
        return self.conv(x)


class FastSCNN(nn.Module):
    def __init__(self, num_classes, aux=False):
        super().__init__()
        self.aux = aux
        self.learning_to_downsample = nn.Sequential(_ConvBNReLU(3, 8, 3, 2, 1), _DSConv(8, 16, 2), _DSConv(16, 24, 2))
        self.global_feature_extractor = nn.Sequential(_DSConv(24, 32, 2), _DSConv(32, 48, 2))
        self.fusion_low = _ConvBNReLU(48, 32, 1)
        self.fusion_high = _ConvBNReLU(24, 32, 1)
        self.classifier = nn.Sequential(_DSConv(32, 32), nn.Dropout(0.1), nn.Conv2d(32, num_classes, 1))
        if aux:
            self.auxlayer = nn.Sequential(_ConvBNReLU(24, 16, 3, 1, 1), nn.Conv2d(16, num_classes, 1))

    def forward(self, x):
        size = x.size()[2:]
        higher = self.learning_to_downsample(x)
        low = self.global_feature_extractor(higher)
        low = F.interpolate(self.fusion_low(low), higher.shape[2:], mode='bilinear', align_corners=True)
        x = self.classifier(F.relu(low + self.fusion_high(higher)))
        outputs = [F.interpolate(x, size, mode='bilinear', align_corners=True)]
        if self.aux:
            outputs.append(F.interpolate(self.auxlayer(higher), size, mode='bilinear', align_corners=True))
        return tuple(outputs)


class SoftmaxCrossEntropyOHEMLoss(nn.Module):
    def __init__(self, ignore_label=-1, thresh=0.7, min_kept=256, use_weight=True):
        super(SoftmaxCrossEntropyOHEMLoss, self).__init__()
        self.ignore_label, self.thresh, self.min_kept = ignore_label, float(thresh), int(min_kept)
        if use_weight:
            weight = torch.FloatTensor(
                [0.8373, 0.918, 0.866, 1.0345, 1.0166, 0.9969, 0.9754, 1.0489, 0.8786, 1.0023,
                 0.9539, 0.9843, 1.1116, 0.9037, 1.0865, 1.0955, 1.0865, 1.1529, 1.0507])
            self.criterion = torch.nn.CrossEntropyLoss(weight=weight, ignore_index=ignore_label)
        else:
            self.criterion = torch.nn.CrossEntropyLoss(ignore_index=ignore_label)

    def forward(self, predict, target):
        prob = F.softmax(predict.detach(), dim=1)
        true = prob.gather(1, target.clamp(min=0).unsqueeze(1)).squeeze(1).flatten()
        kth = true.kthvalue(min(self.min_kept, true.numel())).values
        drop = (true > max(self.thresh, float(kth))).view_as(target)
        target = target.masked_fill(drop, self.ignore_label)
        return self.criterion(predict, target)


class MixSoftmaxCrossEntropyOHEMLoss(SoftmaxCrossEntropyOHEMLoss):
    def __init__(self, aux=False, aux_weight=0.2, ignore_index=-1, **kwargs):
        super().__init__(ignore_label=ignore_index, **kwargs)
        self.aux, self.aux_weight = aux, aux_weight

    def forward(self, preds, target):
        if not self.aux:
            return super().forward(preds[0], target)
        loss = super().forward(preds[0], target)
        for aux_pred in preds[1:]:
            loss = loss + self.aux_weight * super().forward(aux_pred, target)
        return loss


class Trainer(nn.Module):
    def __init__(self, num_class, aux=True):
        super().__init__()
        self.model = FastSCNN(num_class, aux=aux)
        self.criterion = MixSoftmaxCrossEntropyOHEMLoss(aux=aux, aux_weight=0.4, ignore_index=-1)

    def forward(self, images, targets):
        outputs = self.model(images)
        return self.criterion(outputs, targets)


def build():
    torch.manual_seed(0)
    return Trainer(num_class=21)


def step(trainer):
    g = torch.Generator().manual_seed(13)
    images = torch.rand(2, 3, 64, 64, generator=g)
    targets = torch.randint(-1, 21, (2, 64, 64), generator=g)
    return trainer(images, targets)


TRUTH = dict(raises='RuntimeError', at='loss:cross_entropy', culprits=['criterion.criterion', 'criterion'], dim=0, got=19, wanted=21,
             hint_any=['weight', '19', '21'])
MENDED = [('aux_weight=0.4, ignore_index=-1)', 'aux_weight=0.4, ignore_index=-1, use_weight=False)')]
