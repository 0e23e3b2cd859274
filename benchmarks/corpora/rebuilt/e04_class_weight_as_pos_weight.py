import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/open-mmlab/mmsegmentation/issues/2723'
CATEGORY = 'loss'
DESCRIPTION = 'Segmentation with nine classes and use_sigmoid=True: the class weights (9,) are used as pos_weight of a BCE over (N,9,H,W) and line up with the image width.'

norm_cfg = dict(type='BN')
decode_head = dict(
    type='DepthwiseSeparableFCNHead', in_channels=32, channels=32, concat_input=False, num_classes=9, norm_cfg=norm_cfg,
    align_corners=False, loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0,
                                          class_weight=[1, 1, 1, 1, 1, 1, 1, 2, 1]))


def weight_reduce_loss(loss, weight=None, reduction='mean'):
    if weight is not None:
        loss = loss * weight
    return loss.mean() if reduction == 'mean' else loss.sum()


def expand_onehot_labels(labels, num_classes, ignore_index):
    bin_labels = labels.new_zeros((labels.size(0), num_classes, *labels.shape[1:]))
    valid = (labels >= 0) & (labels != ignore_index)
    safe = labels.clamp(0, num_classes - 1).unsqueeze(1)
    bin_labels.scatter_(1, safe, 1)
    return bin_labels * valid.unsqueeze(1), valid.unsqueeze(1).expand_as(bin_labels).float()


def binary_cross_entropy(pred, label, class_weight=None, reduction='mean', ignore_index=255):
    if pred.dim() != label.dim():
        label, weight = expand_onehot_labels(label, pred.size(1), ignore_index)
    loss = F.binary_cross_entropy_with_logits(pred, label.float(), pos_weight=class_weight, reduction='none')
    return weight_reduce_loss(loss, weight, reduction)


def cross_entropy(pred, label, class_weight=None, reduction='mean', ignore_index=255):
    loss = F.cross_entropy(pred, label, weight=class_weight, reduction='none', ignore_index=ignore_index)
    return weight_reduce_loss(loss, None, reduction)


class CrossEntropyLoss(nn.Module):
    def __init__(self, use_sigmoid=False, loss_weight=1.0, class_weight=None):
        super().__init__()
        self.loss_weight = loss_weight
        self.class_weight = class_weight
        self.cls_criterion = binary_cross_entropy if use_sigmoid else cross_entropy

    def forward(self, cls_score, label):
        class_weight = cls_score.new_tensor(self.class_weight) if self.class_weight is not None else None
        return self.loss_weight * self.cls_criterion(cls_score, label, class_weight=class_weight)


class DWConv(nn.Sequential):
    def __init__(self, cin, cout, stride=1):
        super().__init__(nn.Conv2d(cin, cin, 3, stride, 1, groups=cin, bias=False), nn.BatchNorm2d(cin), nn.ReLU(inplace=True),
                         nn.Conv2d(cin, cout, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True))


class FCNHead(nn.Module):
    def __init__(self, in_channels, channels, num_classes, align_corners, loss_decode, **_):
        super().__init__()
        self.convs = nn.Sequential(DWConv(in_channels, channels), DWConv(channels, channels))
        self.dropout = nn.Dropout2d(0.1)
        self.conv_seg = nn.Conv2d(channels, num_classes, 1)
        self.align_corners = align_corners
        loss_decode = dict(loss_decode)
        loss_decode.pop('type')
        self.loss_decode = CrossEntropyLoss(**loss_decode)

    def forward(self, x):
        return self.conv_seg(self.dropout(self.convs(x)))

    def losses(self, seg_logit, seg_label):
        seg_logit = F.interpolate(seg_logit, size=seg_label.shape[2:], mode='bilinear', align_corners=self.align_corners)
        return dict(loss_ce=self.loss_decode(seg_logit, seg_label.squeeze(1)))


class EncoderDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), DWConv(16, 24, 2), DWConv(24, 32, 2))
        self.decode_head = FCNHead(**decode_head)

    def forward(self, img, gt_semantic_seg):
        return self.decode_head.losses(self.decode_head(self.backbone(img)), gt_semantic_seg)


def build():
    return EncoderDecoder()


def step(model):
    img = torch.randn(2, 3, 48, 64)
    gt = torch.randint(0, 9, (2, 1, 48, 64))
    gt[:, :, :2] = 255
    return sum(model(img, gt).values())


# real fix: use_sigmoid=False (the classes exclude each other), or pos_weight of shape (9, 1, 1)
# offending tensor: class_weight (9,), which lines up with W=64
TRUTH = dict(raises='RuntimeError', at='loss:binary_cross_entropy_with_logits', culprits=['function:new_tensor', 'decode_head.loss_decode'],
             dim=0, got=9, wanted=None, hint_any=['pos_weight', 'weight'])
MENDED = [("F.binary_cross_entropy_with_logits(pred, label.float(), pos_weight=class_weight,",
           "F.binary_cross_entropy_with_logits(pred, label.float(), pos_weight=class_weight.view(-1, 1, 1),")]
