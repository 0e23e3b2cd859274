import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/zhulf0804/PointPillars/issues/8'
CATEGORY = 'layer'
DESCRIPTION = 'PointPillars with a fourth class: 8 anchors per cell are made and labelled, the head still predicts n_anchors=6 boxes.'


class Backbone(nn.Module):
    def __init__(self, in_channel, out_channels, layer_nums, layer_strides=(2, 2, 2)):
        super().__init__()
        self.multi_blocks = nn.ModuleList()
        for i, stride in enumerate(layer_strides):
            blocks = [nn.Conv2d(in_channel, out_channels[i], 3, stride=stride, bias=False, padding=1),
                      nn.BatchNorm2d(out_channels[i]), nn.ReLU(inplace=True)]
            for _ in range(layer_nums[i]):
                blocks += [nn.Conv2d(out_channels[i], out_channels[i], 3, bias=False, padding=1),
                           nn.BatchNorm2d(out_channels[i]), nn.ReLU(inplace=True)]
            in_channel = out_channels[i]
            self.multi_blocks.append(nn.Sequential(*blocks))

    def forward(self, x):
        outs = []
        for block in self.multi_blocks:
            x = block(x)
            outs.append(x)
        return outs


class Neck(nn.Module):
    def __init__(self, in_channels, upsample_strides, out_channels):
        super().__init__()
        self.decoder_blocks = nn.ModuleList([
            nn.Sequential(nn.ConvTranspose2d(i, o, s, stride=s, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True))
            for i, s, o in zip(in_channels, upsample_strides, out_channels)])

    def forward(self, x):
        return torch.cat([block(xi) for block, xi in zip(self.decoder_blocks, x)], dim=1)


class Head(nn.Module):
    def __init__(self, in_channel, n_anchors, n_classes):
        super().__init__()
        self.conv_cls = nn.Conv2d(in_channel, n_anchors * n_classes, 1)
        self.conv_reg = nn.Conv2d(in_channel, n_anchors * 7, 1)
        self.conv_dir_cls = nn.Conv2d(in_channel, n_anchors * 2, 1)

    def forward(self, x):
        return self.conv_cls(x), self.conv_reg(x), self.conv_dir_cls(x)


class Anchors:
    def __init__(self, ranges, sizes, rotations):
        self.ranges, self.sizes, self.rotations = ranges, sizes, rotations

    def get_multi_anchors(self, feature_map_size):
        h, w = feature_map_size
        multi_anchors = []
        for (x0, y0, z0, x1, y1, _), size in zip(self.ranges, self.sizes):
            xs, ys = torch.linspace(x0, x1, w + 1)[:-1], torch.linspace(y0, y1, h + 1)[:-1]
            yy, xx, rr = torch.meshgrid(ys, xs, torch.tensor(self.rotations), indexing='ij')
            dims = torch.tensor(size).expand(h, w, len(self.rotations), 3)
            multi_anchors.append(torch.cat([torch.stack([xx, yy, torch.full_like(xx, z0)], -1), dims, rr[..., None]], -1))
        return torch.stack(multi_anchors, dim=2)


def anchor_target(batched_anchors, batched_gt_bboxes, batched_gt_labels, nclasses):
    batched_labels, batched_bbox_reg = [], []
    for anchors, gt_bboxes, gt_labels in zip(batched_anchors, batched_gt_bboxes, batched_gt_labels):
        labels, regs = [], []
        for i in range(anchors.shape[2]):
            cur = anchors[:, :, i].reshape(-1, 7)
            d, j = torch.cdist(cur[:, :2], gt_bboxes[:, :2]).min(1)
            labels.append(torch.where((d < 4.0) & (gt_labels[j] == i), i, nclasses).view(*anchors.shape[:2], -1))
            regs.append((gt_bboxes[j] - cur).view(*anchors.shape[:2], -1, 7))
        batched_labels.append(torch.stack(labels, 2).reshape(-1))
        batched_bbox_reg.append(torch.stack(regs, 2).reshape(-1, 7))
    return dict(batched_labels=torch.stack(batched_labels), batched_bbox_reg=torch.stack(batched_bbox_reg))


class PointPillars(nn.Module):
    def __init__(self, nclasses=3):
        super().__init__()
        self.nclasses = nclasses
        self.backbone = Backbone(in_channel=16, out_channels=[16, 24, 32], layer_nums=[1, 1, 1])
        self.neck = Neck(in_channels=[16, 24, 32], upsample_strides=[1, 2, 4], out_channels=[16, 16, 16])
        self.head = Head(in_channel=48, n_anchors=6, n_classes=nclasses)
        ranges = [[0, -40, -0.6, 80, 40, -0.6], [0, -40, -0.6, 80, 40, -0.6], [0, -40, -1.78, 80, 40, -1.78], [0, -40, -1.6, 80, 40, -1.6]]
        sizes = [[0.6, 0.8, 1.73], [0.6, 1.76, 1.73], [1.6, 3.9, 1.56], [2.5, 7.5, 3.0]]
        self.anchors_generator = Anchors(ranges=ranges, sizes=sizes, rotations=[0, 1.57])

    def forward(self, canvas, batched_gt_bboxes, batched_gt_labels):
        bbox_cls_pred, bbox_pred, bbox_dir_cls_pred = self.head(self.neck(self.backbone(canvas)))
        anchors = self.anchors_generator.get_multi_anchors(bbox_cls_pred.shape[-2:])
        target = anchor_target([anchors] * len(canvas), batched_gt_bboxes, batched_gt_labels, self.nclasses)
        return bbox_cls_pred, bbox_pred, bbox_dir_cls_pred, target


class Loss(nn.Module):
    def __init__(self, nclasses):
        super().__init__()
        self.nclasses = nclasses

    def forward(self, bbox_cls_pred, bbox_pred, labels, num_cls_pos, bbox_reg):
        onehot = F.one_hot(labels, self.nclasses + 1)[:, :self.nclasses].float()
        cls_loss = F.binary_cross_entropy_with_logits(bbox_cls_pred, onehot, reduction='sum') / num_cls_pos
        return cls_loss + 2.0 * F.smooth_l1_loss(bbox_pred, bbox_reg)


nclasses = 4


def build():
    return PointPillars(nclasses=nclasses)


def step(model):
    loss_func = Loss(nclasses)
    canvas = torch.relu(torch.randn(4, 16, 32, 32))
    gt_bboxes = [torch.rand(5, 7) * torch.tensor([80., 80., 1., 2., 4., 2., 3.]) - torch.tensor([0., 40., 1., 0., 0., 0., 0.]) for _ in range(4)]
    gt_labels = [torch.randint(0, nclasses, (5,)) for _ in range(4)]
    bbox_cls_pred, bbox_pred, bbox_dir_cls_pred, target = model(canvas, gt_bboxes, gt_labels)
    bbox_cls_pred = bbox_cls_pred.permute(0, 2, 3, 1).reshape(-1, nclasses)
    bbox_pred = bbox_pred.permute(0, 2, 3, 1).reshape(-1, 7)
    batched_bbox_labels = target['batched_labels'].reshape(-1)
    batched_bbox_reg = target['batched_bbox_reg'].reshape(-1, 7)
    pos_idx = (batched_bbox_labels >= 0) & (batched_bbox_labels < nclasses)
    bbox_pred = bbox_pred[pos_idx]
    batched_bbox_reg = batched_bbox_reg[pos_idx]
    return loss_func(bbox_cls_pred, bbox_pred, batched_bbox_labels, pos_idx.sum().clamp(min=1), batched_bbox_reg)


# real fix: n_anchors=8 (2 * nclasses) in the head
# offending tensors: bbox_pred (4 * 16 * 16 * 6, 7), the mask (4 * 16 * 16 * 8,)
TRUTH = dict(raises='IndexError', at='function:getitem', culprits=['head.conv_reg', 'head', 'head.conv_cls', 'head.conv_dir_cls'], dim=0, got=6144, wanted=8192,
             hint_any=['n_anchors', 'anchors', '56', '8192', 'per cell'])
MENDED = [('n_anchors=6', 'n_anchors=8')]
