import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = ('https://github.com/open-mmlab/mmdetection/issues/5994 (65472 predictions against 19248 labels; the thread names the filter of the valid anchors, '
          'the sizes of the images are read from the numbers; mask branch and box loss left out or reduced)')
CATEGORY = 'loss'
DESCRIPTION = ('YOLACT head with hard negative mining: the labels are made for the anchors inside the unpadded image only and not spread over all anchors, '
               'the class scores are those of all anchors of the padded image.')


class AnchorGenerator:
    def __init__(self, strides=(8, 16, 32), ratios=(0.5, 1.0, 2.0), scale=3):
        self.strides, self.ratios, self.scale = strides, ratios, scale
        self.num_base_anchors = len(ratios)

    def grid_anchors(self, featmap_sizes):
        out = []
        for (h, w), s in zip(featmap_sizes, self.strides):
            base = torch.tensor([[s * self.scale * r ** -0.5, s * self.scale * r ** 0.5] for r in self.ratios])
            ys, xs = torch.meshgrid((torch.arange(h) + 0.5) * s, (torch.arange(w) + 0.5) * s, indexing='ij')
            centers = torch.stack([xs, ys], -1).view(-1, 1, 2)
            out.append(torch.cat([centers - base / 2, centers + base / 2], -1).view(-1, 4))
        return out

    def valid_flags(self, featmap_sizes, pad_shape):
        flags = []
        for (h, w), s in zip(featmap_sizes, self.strides):
            valid_h, valid_w = min(-(-pad_shape[0] // s), h), min(-(-pad_shape[1] // s), w)
            valid = (torch.arange(h) < valid_h)[:, None] & (torch.arange(w) < valid_w)[None]
            flags.append(valid.reshape(-1, 1).expand(-1, self.num_base_anchors).reshape(-1))
        return flags


def bbox_overlaps(a, b):
    lt, rb = torch.max(a[:, None, :2], b[None, :, :2]), torch.min(a[:, None, 2:], b[None, :, 2:])
    inter = (rb - lt).clamp(min=0).prod(-1)
    area = lambda t: (t[:, 2:] - t[:, :2]).prod(-1)
    return inter / (area(a)[:, None] + area(b)[None] - inter)


def unmap(data, count, inds, fill=0):
    ret = data.new_full((count,) + data.shape[1:], fill)
    ret[inds] = data
    return ret


class Backbone(nn.Module):
    def __init__(self, channels=16):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 7, stride=4, padding=3), nn.ReLU())
        self.stages = nn.ModuleList(nn.Sequential(nn.Conv2d(channels, channels, 3, stride=2, padding=1), nn.ReLU()) for _ in range(3))

    def forward(self, x):
        x, feats = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            feats.append(x)
        return feats


class YOLACTHead(nn.Module):
    def __init__(self, num_classes, in_channels=16, use_ohem=True, ohem_ratio=3):
        super().__init__()
        self.num_classes, self.use_ohem, self.ohem_ratio = num_classes, use_ohem, ohem_ratio
        self.anchor_generator = AnchorGenerator()
        n = self.anchor_generator.num_base_anchors
        self.head_conv = nn.Conv2d(in_channels, in_channels, 3, padding=1)
        self.conv_cls = nn.Conv2d(in_channels, n * (num_classes + 1), 3, padding=1)
        self.conv_reg = nn.Conv2d(in_channels, n * 4, 3, padding=1)

    def forward(self, feats):
        feats = [F.relu(self.head_conv(f)) for f in feats]
        return [self.conv_cls(f) for f in feats], [self.conv_reg(f).tanh() for f in feats]

    def _get_targets_single(self, flat_anchors, valid, gt_bboxes, gt_labels, unmap_outputs=True):
        anchors = flat_anchors[valid]
        ious, which = bbox_overlaps(anchors, gt_bboxes).max(1)
        best = bbox_overlaps(anchors, gt_bboxes).argmax(0)
        ious[best], which[best] = 1.0, torch.arange(len(gt_bboxes))
        positive = ious >= 0.5
        labels = torch.where(positive, gt_labels[which], torch.full_like(which, self.num_classes))
        label_weights = torch.ones(len(anchors))
        bbox_targets = (gt_bboxes[which] - anchors) / 32
        if unmap_outputs:
            total = flat_anchors.size(0)
            labels = unmap(labels, total, valid, fill=self.num_classes)
            label_weights, bbox_targets = unmap(label_weights, total, valid), unmap(bbox_targets, total, valid)
        return labels, label_weights, bbox_targets

    def loss(self, cls_scores, bbox_preds, gt_bboxes, gt_labels, img_metas):
        sizes = [tuple(s.shape[-2:]) for s in cls_scores]
        flat_anchors = torch.cat(self.anchor_generator.grid_anchors(sizes))
        n_img = cls_scores[0].size(0)
        all_cls = torch.cat([s.permute(0, 2, 3, 1).reshape(n_img, -1, self.num_classes + 1) for s in cls_scores], 1)
        all_reg = torch.cat([b.permute(0, 2, 3, 1).reshape(n_img, -1, 4) for b in bbox_preds], 1)
        losses = []
        for i, meta in enumerate(img_metas):
            valid = torch.cat(self.anchor_generator.valid_flags(sizes, meta['pad_shape']))
            labels, weights, bbox_targets = self._get_targets_single(flat_anchors, valid, gt_bboxes[i], gt_labels[i], unmap_outputs=not self.use_ohem)
            losses.append(self.loss_single_OHEM(all_cls[i], all_reg[i], labels, weights, bbox_targets))
        return torch.stack(losses).mean()

    def loss_single_OHEM(self, cls_score, bbox_pred, labels, label_weights, bbox_targets):
        loss_cls_all = F.cross_entropy(cls_score, labels, reduction='none') * label_weights
        pos = (labels < self.num_classes).nonzero().flatten()
        neg = ((labels == self.num_classes) & (label_weights > 0)).nonzero().flatten()
        topk = loss_cls_all[neg].topk(min(self.ohem_ratio * len(pos), len(neg)))[0]
        loss_bbox = F.smooth_l1_loss(bbox_pred[pos], bbox_targets[pos], reduction='sum')
        return (loss_cls_all[pos].sum() + topk.sum() + 1.5 * loss_bbox) / max(len(pos), 1)


class YOLACT(nn.Module):
    def __init__(self, num_classes=8):
        super().__init__()
        self.backbone = Backbone()
        self.bbox_head = YOLACTHead(num_classes)

    def forward_train(self, img, img_metas, gt_bboxes, gt_labels):
        cls_scores, bbox_preds = self.bbox_head(self.backbone(img))
        return self.bbox_head.loss(cls_scores, bbox_preds, gt_bboxes, gt_labels, img_metas)


def collate(samples):
    height, width = (max(s['img'].shape[d] for s in samples) for d in (1, 2))
    img = torch.stack([F.pad(s['img'], (0, width - s['img'].shape[2], 0, height - s['img'].shape[1])) for s in samples])
    metas = [dict(pad_shape=tuple(s['img'].shape[1:])) for s in samples]
    return img, metas, [s['boxes'] for s in samples], [s['labels'] for s in samples]


def photograph(height, width, objects=3):
    corner = torch.rand(objects, 2) * torch.tensor([width * 0.6, height * 0.6])
    boxes = torch.cat([corner, corner + 20 + torch.rand(objects, 2) * 20], 1)
    return dict(img=torch.rand(3, height, width), boxes=boxes, labels=torch.randint(0, 8, (objects,)))


def build():
    torch.manual_seed(0)
    return YOLACT()


def step(model):
    img, metas, boxes, labels = collate([photograph(128, 128), photograph(96, 128)])
    return model.forward_train(img, metas, boxes, labels)


# the labels of the valid anchors have to be spread over all anchors (unmap), or all images brought to one size as YOLACT's own pipeline does
TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['target', 'input', 'function:getitem'], dim=0, got=756, wanted=1008,
             hint_any=['1008', '756', 'anchor', 'valid', 'unmap', 'target', 'label'])
MENDED = [('unmap_outputs=not self.use_ohem', 'unmap_outputs=True')]
