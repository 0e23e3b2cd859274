import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/open-mmlab/mmdetection/issues/2955'
CATEGORY = 'loss'
DESCRIPTION = 'The backbone of a RefineDet gives strides 8, 16, 32, 64, the anchor generator of the config still has 8, 32, 128, 256: fewer labels than scores.'

input_size = 128
model_cfg = dict(
    backbone=dict(type='SSDVGG', stem=32, extra_setting=(48, 'S', 64)),
    bbox_head=dict(
        type='RefineHead', in_channels=(32, 48, 48, 64), num_classes=6,
        anchor_generator=dict(type='SSDAnchorGenerator', input_size=input_size, basesize_ratio_range=(0.1, 0.9), strides=[8, 32, 128, 256],
                              ratios=[[2], [2, 3], [2, 3], [2]])))


class SSDVGG(nn.Module):
    def __init__(self, stem, extra_setting):
        super().__init__()
        mid, _, last = extra_setting
        self.features = nn.Sequential(*[m for i, o in ((3, 16), (16, 24), (24, stem)) for m in (nn.Conv2d(i, o, 3, 2, 1), nn.ReLU())])
        self.extra = nn.ModuleList([nn.Conv2d(stem, mid, 3, 2, 1), nn.Conv2d(mid, mid, 3, 2, 1), nn.Conv2d(mid, last, 3, 2, 1)])

    def forward(self, x):
        outs = [self.features(x)]
        for layer in self.extra:
            outs.append(F.relu(layer(outs[-1])))
        return outs


class SSDAnchorGenerator:
    def __init__(self, input_size, basesize_ratio_range, strides, ratios):
        self.input_size, self.strides = input_size, strides
        low, high = basesize_ratio_range
        sizes = [input_size * (low + (high - low) * i / len(strides)) for i in range(len(strides) + 1)]
        self.base_anchors = [self.gen_base_anchors(sizes[i], sizes[i + 1], r) for i, r in enumerate(ratios)]

    @property
    def num_base_anchors(self):
        return [b.size(0) for b in self.base_anchors]

    @staticmethod
    def gen_base_anchors(small, large, ratios):
        wh = [(small, small), (math.sqrt(small * large),) * 2]
        for r in ratios:
            wh += [(small * math.sqrt(r), small / math.sqrt(r)), (small / math.sqrt(r), small * math.sqrt(r))]
        wh = torch.tensor(wh)
        return torch.cat([-wh / 2, wh / 2], 1)

    def grid_anchors(self):
        multi_level = []
        for stride, base in zip(self.strides, self.base_anchors):
            shift = (torch.arange(math.ceil(self.input_size / stride)) + 0.5) * stride
            yy, xx = torch.meshgrid(shift, shift, indexing='ij')
            centers = torch.stack([xx, yy, xx, yy], -1).view(-1, 1, 4)
            multi_level.append((centers + base).view(-1, 4))
        return torch.cat(multi_level)


class RefineHead(nn.Module):
    def __init__(self, in_channels, num_classes, anchor_generator):
        super().__init__()
        self.cls_out_channels = num_classes + 1
        self.anchor_generator = SSDAnchorGenerator(**{k: v for k, v in anchor_generator.items() if k != 'type'})
        self.cls_convs = nn.ModuleList(nn.Conv2d(c, n * self.cls_out_channels, 3, padding=1)
                                       for c, n in zip(in_channels, self.anchor_generator.num_base_anchors))

    def forward(self, feats):
        return [conv(x) for conv, x in zip(self.cls_convs, feats)]

    def get_targets(self, gt_bboxes, gt_labels):
        anchors = self.anchor_generator.grid_anchors()
        lt = torch.max(anchors[:, None, :2], gt_bboxes[None, :, :2])
        rb = torch.min(anchors[:, None, 2:], gt_bboxes[None, :, 2:])
        inter = (rb - lt).clamp(min=0).prod(-1)
        area = lambda b: (b[:, 2:] - b[:, :2]).prod(-1)
        overlap, which = (inter / (area(anchors)[:, None] + area(gt_bboxes)[None] - inter)).max(1)
        labels = torch.where(overlap > 0.4, gt_labels[which], torch.full_like(which, self.cls_out_channels - 1))
        return labels, torch.ones_like(overlap)

    def loss(self, cls_scores, gt_bboxes, gt_labels):
        num_images = len(gt_bboxes)
        all_cls_scores = torch.cat([s.permute(0, 2, 3, 1).reshape(num_images, -1, self.cls_out_channels) for s in cls_scores], 1)
        total = 0
        for cls_score, boxes, names in zip(all_cls_scores, gt_bboxes, gt_labels):
            labels, label_weights = self.get_targets(boxes, names)
            loss_cls_all = F.cross_entropy(cls_score, labels, reduction='none') * label_weights
            total = total + loss_cls_all.mean()
        return total / num_images


class SingleStageDetector(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.backbone = SSDVGG(cfg['backbone']['stem'], cfg['backbone']['extra_setting'])
        self.bbox_head = RefineHead(**{k: v for k, v in cfg['bbox_head'].items() if k != 'type'})

    def forward(self, img, gt_bboxes, gt_labels):
        return self.bbox_head.loss(self.bbox_head(self.backbone(img)), gt_bboxes, gt_labels)


def build():
    return SingleStageDetector(model_cfg)


def step(model):
    corners = torch.rand(2, 3, 2) * 60
    boxes = torch.cat([corners, corners + 20 + torch.rand(2, 3, 2) * 40], -1)
    return model(torch.randn(2, 3, input_size, input_size), list(boxes), list(torch.randint(0, 6, (2, 3))))


# real fix: strides=[8, 16, 32, 64], one for every output of the backbone
TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['target', 'function:arange', 'function:meshgrid'], dim=0, got=1130, wanted=1520,
             hint_any=['1520', 'anchor', 'stride'])
MENDED = [('strides=[8, 32, 128, 256]', 'strides=[8, 16, 32, 64]')]
