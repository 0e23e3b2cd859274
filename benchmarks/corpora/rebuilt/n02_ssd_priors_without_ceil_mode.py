import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/lufficc/SSD/issues/71'
CATEGORY = 'layer'
DESCRIPTION = 'SSD ported to a framework without ceil_mode: the anchors are still made for the rounded-up feature map.'

CFG = dict(image_size=60, num_classes=4, neg_pos_ratio=3,
           feature_maps=[8, 4, 2, 1], strides=[8, 15, 30, 60], sizes=[8, 18, 32, 46, 60],
           aspect_ratios=[[2], [2, 3], [2, 3], [2]], boxes_per_location=[4, 6, 6, 4])


def vgg(layers, in_channels=3):
    modules = []
    for v in layers:
        if v == 'M':
            modules.append(nn.MaxPool2d(2, 2))
        else:
            modules += [nn.Conv2d(in_channels, v, 3, padding=1), nn.ReLU()]
            in_channels = v
    return nn.ModuleList(modules)


class VGG(nn.Module):
    def __init__(self):
        super().__init__()
        self.vgg = vgg([8, 'M', 16, 'M', 24, 'M', 32])
        self.extras = nn.ModuleList([nn.Conv2d(32, 32, 3, 2, 1), nn.Conv2d(32, 24, 3, 2, 1), nn.Conv2d(24, 24, 3, 2, 1)])

    def forward(self, x):
        features = []
        for layer in self.vgg:
            x = layer(x)
        features.append(x)
        for extra in self.extras:
            x = F.relu(extra(x))
            features.append(x)
        return features


class SSDDetector(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.backbone = VGG()
        self.num_classes = cfg['num_classes']
        pairs = list(zip([32, 32, 24, 24], cfg['boxes_per_location']))
        self.cls_headers = nn.ModuleList([nn.Conv2d(c, b * self.num_classes, 3, padding=1) for c, b in pairs])
        self.reg_headers = nn.ModuleList([nn.Conv2d(c, b * 4, 3, padding=1) for c, b in pairs])

    def forward(self, images):
        features, cls_logits, bbox_pred = self.backbone(images), [], []
        for feature, cls_header, reg_header in zip(features, self.cls_headers, self.reg_headers):
            cls_logits.append(cls_header(feature).permute(0, 2, 3, 1).reshape(len(images), -1, self.num_classes))
            bbox_pred.append(reg_header(feature).permute(0, 2, 3, 1).reshape(len(images), -1, 4))
        return torch.cat(cls_logits, dim=1), torch.cat(bbox_pred, dim=1)


def prior_box(cfg):
    priors = []
    for k, f in enumerate(cfg['feature_maps']):
        scale = cfg['image_size'] / cfg['strides'][k]
        for i in range(f):
            for j in range(f):
                cx, cy = (j + 0.5) / scale, (i + 0.5) / scale
                s = cfg['sizes'][k] / cfg['image_size']
                big = math.sqrt(cfg['sizes'][k] * cfg['sizes'][k + 1]) / cfg['image_size']
                priors += [[cx, cy, s, s], [cx, cy, big, big]]
                for ratio in cfg['aspect_ratios'][k]:
                    r = math.sqrt(ratio)
                    priors += [[cx, cy, s * r, s / r], [cx, cy, s / r, s * r]]
    return torch.tensor(priors).clamp(0, 1)


def target_transform(boxes, labels, priors):
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    distance, best = torch.cdist(priors[:, :2], centers).min(dim=1)
    prior_labels = torch.where(distance < 0.15, labels[best], torch.zeros_like(labels[best]))
    matched = torch.cat([centers[best], boxes[best, 2:] - boxes[best, :2]], dim=1)
    return matched - priors, prior_labels


def hard_negative_mining(loss, labels, neg_pos_ratio):
    pos_mask = labels > 0
    num_neg = pos_mask.long().sum(dim=1, keepdim=True) * neg_pos_ratio
    loss[pos_mask] = -math.inf
    _, indexes = loss.sort(dim=1, descending=True)
    _, orders = indexes.sort(dim=1)
    return pos_mask | (orders < num_neg)


def multibox_loss(confidence, predicted_locations, labels, gt_locations, neg_pos_ratio):
    num_classes = confidence.size(2)
    with torch.no_grad():
        loss = -F.log_softmax(confidence, dim=2)[:, :, 0]
        mask = hard_negative_mining(loss, labels, neg_pos_ratio)
    confidence = confidence[mask, :]
    classification_loss = F.cross_entropy(confidence.view(-1, num_classes), labels[mask], reduction='sum')
    pos_mask = labels > 0
    predicted_locations = predicted_locations[pos_mask, :].view(-1, 4)
    gt_locations = gt_locations[pos_mask, :].view(-1, 4)
    smooth_l1_loss = F.smooth_l1_loss(predicted_locations, gt_locations, reduction='sum')
    return (smooth_l1_loss + classification_loss) / gt_locations.size(0)


def build():
    return SSDDetector(CFG)


def step(model):
    priors = prior_box(CFG)
    images, locations, labels = torch.randn(4, 3, 60, 60), [], []
    for _ in range(len(images)):
        xy = torch.rand(4, 2) * 0.6
        loc, lab = target_transform(torch.cat([xy, xy + 0.3], dim=1), torch.randint(1, 4, (4,)), priors)
        locations.append(loc)
        labels.append(lab)
    cls_logits, bbox_pred = model(images)
    return multibox_loss(cls_logits, bbox_pred, torch.stack(labels), torch.stack(locations), CFG['neg_pos_ratio'])


# real fix: feature_maps=[7, 4, 2, 1] in the configuration of the priors (without ceil_mode 15 is pooled to 7, not 8)
# offending tensor: labels (4, 380), one for each prior, against 320 predictions
TRUTH = dict(raises='IndexError', at='function:setitem', culprits=['target', 'function:tensor', 'backbone.vgg.8'], dim=1, got=380, wanted=320,
             hint_any=['ceil', 'feature_maps', 'feature map', 'prior', 'anchor', '320', '380'])
MENDED = [('feature_maps=[8, 4, 2, 1]', 'feature_maps=[7, 4, 2, 1]')]
