import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/open-mmlab/mmdetection/issues/7849'
CATEGORY = 'loss'
DESCRIPTION = 'PointRend: train_cfg mask_size raised from 7 to 14, but the coarse mask head halves its 14x14 RoI features and predicts 7x7 masks.'

model_cfg = dict(
    mask_roi_extractor=dict(output_size=14, featmap_stride=4),
    mask_head=dict(num_fcs=2, in_channels=14, conv_out_channels=16, fc_out_channels=32, num_classes=3, roi_feat_size=14, downsample_factor=2),
    train_cfg=dict(rcnn=dict(mask_size=14, pos_per_img=7)),
)


def roi_align(feat, boxes, output_size, stride):
    crops = []
    for b in range(feat.shape[0]):
        for x1, y1, x2, y2 in (boxes[b] / stride).tolist():
            ys = torch.linspace(y1, y2, output_size) / (feat.shape[2] - 1) * 2 - 1
            xs = torch.linspace(x1, x2, output_size) / (feat.shape[3] - 1) * 2 - 1
            gy, gx = torch.meshgrid(ys, xs, indexing='ij')
            crops.append(F.grid_sample(feat[b:b + 1], torch.stack((gx, gy), -1)[None], align_corners=True))
    return torch.cat(crops)


class CoarseMaskHead(nn.Module):
    def __init__(self, num_fcs, in_channels, conv_out_channels, fc_out_channels, num_classes, roi_feat_size, downsample_factor):
        super().__init__()
        self.num_classes = num_classes
        self.output_size = roi_feat_size // downsample_factor
        self.conv = nn.Conv2d(in_channels, conv_out_channels, 3, padding=1)
        self.downsample_conv = nn.Conv2d(conv_out_channels, conv_out_channels, kernel_size=downsample_factor, stride=downsample_factor)
        self.fcs = nn.ModuleList()
        last = conv_out_channels * self.output_size ** 2
        for _ in range(num_fcs):
            self.fcs.append(nn.Linear(last, fc_out_channels))
            last = fc_out_channels
        self.fc_logits = nn.Linear(last, num_classes * self.output_size ** 2)

    def forward(self, x):
        x = F.relu(self.downsample_conv(F.relu(self.conv(x))))
        x = x.flatten(1)
        for fc in self.fcs:
            x = F.relu(fc(x))
        return self.fc_logits(x).view(x.size(0), self.num_classes, self.output_size, self.output_size)


def mask_target(pos_boxes, gt_masks, cfg):
    targets = []
    for boxes, masks in zip(pos_boxes, gt_masks):
        for (x1, y1, x2, y2), mask in zip(boxes.long().tolist(), masks):
            crop = mask[None, None, y1:y2 + 1, x1:x2 + 1]
            targets.append(F.interpolate(crop, size=(cfg['mask_size'], cfg['mask_size']), mode='bilinear')[0, 0] >= 0.5)
    return torch.stack(targets).float()


def mask_cross_entropy(pred, target, label):
    inds = torch.arange(pred.size(0))
    return F.binary_cross_entropy_with_logits(pred[inds, label], target, reduction='mean')


class PointRend(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.backbone = nn.Sequential(nn.Conv2d(3, 14, 3, 2, 1), nn.ReLU(), nn.Conv2d(14, 14, 3, 2, 1))
        self.mask_head = CoarseMaskHead(**cfg['mask_head'])

    def forward_train(self, img, pos_boxes, labels, gt_masks):
        ext = self.cfg['mask_roi_extractor']
        feats = roi_align(self.backbone(img), pos_boxes, ext['output_size'], ext['featmap_stride'])
        mask_pred = self.mask_head(feats)
        mask_targets = mask_target(pos_boxes, gt_masks, self.cfg['train_cfg']['rcnn'])
        return mask_cross_entropy(mask_pred, mask_targets, labels.flatten())


def batch(cfg, images=2, size=64):
    n = cfg['train_cfg']['rcnn']['pos_per_img']
    xy = torch.randint(0, 32, (images, n, 2))
    boxes = torch.cat((xy, xy + torch.randint(12, 30, (images, n, 2))), -1).float()
    return torch.randn(images, 3, size, size), boxes, torch.randint(0, 3, (images, n)), (torch.rand(images, n, size, size) > .5).float()


def build():
    return PointRend(model_cfg)


def step(model):
    return model.forward_train(*batch(model.cfg))


# real fix (maintainer): a larger output_size of the mask_roi_extractor, or a smaller downsample_factor of CoarseMaskHead (or mask_size back to 7)
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy_with_logits',
             culprits=['mask_head.downsample_conv', 'mask_head', 'mask_head.fc_logits', 'target', 'function:interpolate', 'function:grid_sample'],
             dim=1, got=7, wanted=14, hint_any=['downsample', 'stride', 'mask_size', 'resize', 'interpolate', '14', 'output'])
MENDED = [('roi_feat_size=14, downsample_factor=2)', 'roi_feat_size=14, downsample_factor=1)')]
