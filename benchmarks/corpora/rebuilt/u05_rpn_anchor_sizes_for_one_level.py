import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/pytorch/vision/issues/1308'
CATEGORY = 'layer'
DESCRIPTION = 'Faster R-CNN with FPN: AnchorGenerator(sizes=((8,16,32),)) makes anchors for one of the five levels only.'


class BackboneWithFPN(nn.Module):
    def __init__(self, out_channels=32, widths=(16, 24, 32, 40)):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU())
        self.stages = nn.ModuleList([nn.Sequential(nn.Conv2d(c, w, 3, 2, 1), nn.BatchNorm2d(w), nn.ReLU())
                                     for c, w in zip((16,) + widths, widths)])
        self.inner_blocks = nn.ModuleList([nn.Conv2d(w, out_channels, 1) for w in widths])
        self.layer_blocks = nn.ModuleList([nn.Conv2d(out_channels, out_channels, 3, padding=1) for _ in widths])
        self.out_channels = out_channels

    def forward(self, x):
        x, feats, results, last = self.stem(x), [], [], 0
        for stage in self.stages:
            x = stage(x)
            feats.append(x)
        for inner, layer, feat in reversed(list(zip(self.inner_blocks, self.layer_blocks, feats))):
            top_down = F.interpolate(last, size=feat.shape[-2:], mode='nearest') if results else 0
            last = inner(feat) + top_down
            results.insert(0, layer(last))
        results.append(F.max_pool2d(results[-1], 1, 2, 0))
        return results


class AnchorGenerator(nn.Module):
    def __init__(self, sizes=(128, 256, 512), aspect_ratios=(0.5, 1.0, 2.0)):
        super().__init__()
        if not isinstance(sizes[0], (list, tuple)):
            sizes = tuple((s,) for s in sizes)
        if not isinstance(aspect_ratios[0], (list, tuple)):
            aspect_ratios = (aspect_ratios,) * len(sizes)
        self.sizes, self.aspect_ratios = sizes, aspect_ratios

    def generate_anchors(self, scales, aspect_ratios):
        scales, ratios = torch.tensor(scales, dtype=torch.float32), torch.tensor(aspect_ratios)
        h_ratios = torch.sqrt(ratios)
        ws = ((1 / h_ratios)[:, None] * scales[None, :]).view(-1)
        hs = (h_ratios[:, None] * scales[None, :]).view(-1)
        return (torch.stack([-ws, -hs, ws, hs], dim=1) / 2).round()

    def num_anchors_per_location(self):
        return [len(s) * len(a) for s, a in zip(self.sizes, self.aspect_ratios)]

    def grid_anchors(self, grid_sizes, strides):
        cell_anchors = [self.generate_anchors(s, a) for s, a in zip(self.sizes, self.aspect_ratios)]
        anchors = []
        for (gh, gw), stride, base_anchors in zip(grid_sizes, strides, cell_anchors):
            shift_y, shift_x = torch.meshgrid(torch.arange(gh) * stride, torch.arange(gw) * stride, indexing='ij')
            shift_x, shift_y = shift_x.reshape(-1), shift_y.reshape(-1)
            shifts = torch.stack((shift_x, shift_y, shift_x, shift_y), dim=1)
            anchors.append((shifts.view(-1, 1, 4) + base_anchors.view(1, -1, 4)).reshape(-1, 4))
        return anchors

    def forward(self, images, feature_maps):
        grid_sizes = [f.shape[-2:] for f in feature_maps]
        strides = [images.shape[-1] // g[1] for g in grid_sizes]
        over_all = self.grid_anchors(grid_sizes, strides)
        return [torch.cat(over_all) for _ in range(len(images))]


class RPNHead(nn.Module):
    def __init__(self, in_channels, num_anchors):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, in_channels, 3, padding=1)
        self.cls_logits = nn.Conv2d(in_channels, num_anchors, 1)
        self.bbox_pred = nn.Conv2d(in_channels, num_anchors * 4, 1)

    def forward(self, x):
        logits, bbox_reg = [], []
        for feature in x:
            t = F.relu(self.conv(feature))
            logits.append(self.cls_logits(t))
            bbox_reg.append(self.bbox_pred(t))
        return logits, bbox_reg


def permute_and_flatten(layer, C):
    N, AxC, H, W = layer.shape
    return layer.view(N, -1, C, H, W).permute(0, 3, 4, 1, 2).reshape(N, -1, C)


class BoxCoder:
    def decode(self, rel_codes, boxes):
        boxes_per_image = [len(b) for b in boxes]
        concat_boxes = torch.cat(boxes, dim=0)
        pred_boxes = self.decode_single(rel_codes.reshape(sum(boxes_per_image), -1), concat_boxes)
        return pred_boxes.reshape(sum(boxes_per_image), -1, 4)

    def decode_single(self, rel_codes, boxes):
        wh = boxes[:, 2:] - boxes[:, :2]
        pred_ctr = rel_codes[:, :2] * wh + boxes[:, :2] + 0.5 * wh
        pred_wh = torch.exp(rel_codes[:, 2:].clamp(max=math.log(1000. / 16))) * wh
        return torch.cat([pred_ctr - 0.5 * pred_wh, pred_ctr + 0.5 * pred_wh], dim=1)


class RegionProposalNetwork(nn.Module):
    def __init__(self, anchor_generator, head):
        super().__init__()
        self.anchor_generator, self.head, self.box_coder = anchor_generator, head, BoxCoder()

    def forward(self, images, features, gt_boxes):
        objectness, pred_bbox_deltas = self.head(features)
        anchors = self.anchor_generator(images, features)
        objectness = torch.cat([permute_and_flatten(o, 1) for o in objectness], dim=1).flatten()
        pred_bbox_deltas = torch.cat([permute_and_flatten(d, 4) for d in pred_bbox_deltas], dim=1).reshape(-1, 4)
        proposals = self.box_coder.decode(pred_bbox_deltas, anchors).view(-1, 4)
        labels, matched = [], []
        for a, gt in zip(anchors, gt_boxes):
            ctr = (a[:, :2] + a[:, 2:]) / 2
            labels.append(((ctr > gt[:2]) & (ctr < gt[2:])).all(1).float())
            matched.append(gt.expand_as(a))
        labels, matched = torch.cat(labels), torch.cat(matched)
        pos = labels > 0
        return (F.binary_cross_entropy_with_logits(objectness, labels)
                + F.smooth_l1_loss(proposals[pos] / 64, matched[pos] / 64))


class FasterRCNN(nn.Module):
    def __init__(self, backbone, rpn_anchor_generator):
        super().__init__()
        self.backbone = backbone
        rpn_head = RPNHead(backbone.out_channels, rpn_anchor_generator.num_anchors_per_location()[0])
        self.rpn = RegionProposalNetwork(rpn_anchor_generator, rpn_head)

    def forward(self, images, gt_boxes):
        return self.rpn(images, self.backbone(images), gt_boxes)


def build():
    anchor_generator = AnchorGenerator(sizes=((8, 16, 32),), aspect_ratios=((2.0, 1.0, 0.5),))
    return FasterRCNN(BackboneWithFPN(), rpn_anchor_generator=anchor_generator)


def step(model):
    return model(torch.rand(2, 3, 64, 64), torch.tensor([[8., 8., 40., 40.], [20., 4., 60., 50.]]))


# real fix: one tuple of sizes (and of ratios) for each of the five feature maps
# offending tensors: pred_bbox_deltas (2 * 3069, 4), anchors 2 * 2304: those of the 16x16 level alone
TRUTH = dict(raises='RuntimeError', at='function:reshape', culprits=['rpn.anchor_generator'], dim=None, got=None, wanted=None,
             hint_any=['sizes=', 'level', 'feature map', 'feature_maps', '2304', '4608'])
MENDED = [('sizes=((8, 16, 32),), aspect_ratios=((2.0, 1.0, 0.5),)', 'sizes=((8, 16, 32),) * 5, aspect_ratios=((2.0, 1.0, 0.5),) * 5')]
