import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/WongKinYiu/yolov9/issues/469'
CATEGORY = 'layer'
DESCRIPTION = 'YOLOv9 with an auxiliary branch: only one head of it is kept, the dual loss decodes its boxes with the anchor points of all three main levels.'

cfg = dict(nc=6, reg_max=8, strides=(8, 16, 32), aux_from=('P3',), width=16)


def cbs(i, o, s=1):
    return nn.Sequential(nn.Conv2d(i, o, 3, s, 1, bias=False), nn.BatchNorm2d(o), nn.SiLU())


class Detect(nn.Module):
    def __init__(self, nc, reg_max, ch):
        super().__init__()
        self.cv2 = nn.ModuleList([nn.Sequential(cbs(c, c), nn.Conv2d(c, 4 * reg_max, 1)) for c in ch])
        self.cv3 = nn.ModuleList([nn.Sequential(cbs(c, c), nn.Conv2d(c, nc, 1)) for c in ch])

    def forward(self, feats):
        return [torch.cat((a(x), b(x)), 1) for a, b, x in zip(self.cv2, self.cv3, feats)]


class DualDDetect(nn.Module):
    def __init__(self, nc, reg_max, main_ch, aux_ch):
        super().__init__()
        self.main, self.aux = Detect(nc, reg_max, main_ch), Detect(nc, reg_max, aux_ch)

    def forward(self, main, aux):
        return self.aux(aux), self.main(main)


class Model(nn.Module):
    def __init__(self, nc, reg_max, strides, aux_from, width):
        super().__init__()
        self.stem = nn.Sequential(cbs(3, width, 2), cbs(width, width, 2))
        self.levels = nn.ModuleDict({f'P{i + 3}': cbs(width, width, 2) for i in range(3)})
        self.aux_convs = nn.ModuleDict({k: cbs(width, width) for k in aux_from})
        self.detect = DualDDetect(nc, reg_max, [width] * 3, [width] * len(aux_from))

    def forward(self, x):
        x, maps = self.stem(x), {}
        for name, level in self.levels.items():
            x = maps[name] = level(x)
        return self.detect(list(maps.values()), [conv(maps[k]) for k, conv in self.aux_convs.items()])


def make_anchors(feats, strides):
    points, stride = [], []
    for f, s in zip(feats, strides):
        h, w = f.shape[2:]
        sy, sx = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing='ij')
        points.append(torch.stack((sx, sy), -1).view(-1, 2))
        stride.append(torch.full((h * w, 1), float(s)))
    return torch.cat(points), torch.cat(stride)


def dist2bbox(distance, anchor_points):
    lt, rb = torch.split(distance, 2, -1)
    x1y1 = anchor_points - lt
    return torch.cat((x1y1, anchor_points + rb), -1)


class ComputeLoss:
    def __init__(self, c):
        self.nc, self.reg_max, self.strides = c['nc'], c['reg_max'], c['strides']
        self.proj = torch.arange(self.reg_max).float()

    def flatten(self, feats):
        both = torch.cat([f.view(f.shape[0], self.reg_max * 4 + self.nc, -1) for f in feats], 2)
        dist, cls = both.split((self.reg_max * 4, self.nc), 1)
        return dist.permute(0, 2, 1).contiguous(), cls.permute(0, 2, 1).contiguous()

    def bbox_decode(self, anchor_points, dist):
        b, a, c = dist.shape
        return dist2bbox(dist.view(b, a, 4, c // 4).softmax(3).matmul(self.proj), anchor_points)

    def branch(self, boxes, cls, gt):
        best = (boxes - gt.unsqueeze(1)).abs().sum(-1)
        pos = torch.zeros_like(cls)
        pos.scatter_(1, best.argmin(1).view(-1, 1, 1).expand(-1, 1, cls.size(2)), 1.0)
        return best.min(1)[0].mean() + F.binary_cross_entropy_with_logits(cls, pos)

    def __call__(self, preds, gt):
        feats2, feats = preds
        pred_distri, pred_scores = self.flatten(feats)
        pred_distri2, pred_scores2 = self.flatten(feats2)
        anchor_points, stride_tensor = make_anchors(feats, self.strides)
        pred_bboxes = self.bbox_decode(anchor_points, pred_distri)
        pred_bboxes2 = self.bbox_decode(anchor_points, pred_distri2)
        return self.branch(pred_bboxes, pred_scores, gt) + 0.25 * self.branch(pred_bboxes2, pred_scores2, gt)


def build():
    return Model(**cfg)


def step(model):
    imgs, gt = torch.rand(2, 3, 128, 128), torch.rand(2, 4) * 8
    return ComputeLoss(cfg)(model(imgs), gt)


# real fix: an auxiliary branch with as many levels as the main one ("the code only supports paired branches")
# offending tensor: lt (2, 256, 2) of the auxiliary branch, 336 anchor points
TRUTH = dict(raises='RuntimeError', at='function:sub', culprits=['detect.aux', 'function:cat', 'detect', ''], dim=1, got=256, wanted=336,
             hint_any=['aux', 'level', 'cat', 'anchor', 'head'])
MENDED = [("aux_from=('P3',)", "aux_from=('P3', 'P4', 'P5')")]
