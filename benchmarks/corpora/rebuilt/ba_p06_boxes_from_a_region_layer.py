import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/marvis/pytorch-yolo2/issues/121 (also issues 157 and 172: mask [845], indexed tensor [5, 13, 13]; the network is reduced)'
CATEGORY = 'layer'
DESCRIPTION = ('YOLOv2 region loss: the best overlap of every predicted box is a flat vector of all anchors and cells, the confidence mask of an image has '
               'anchors, rows and columns.')


def bbox_ious(a, b):
    mx, Mx = torch.min(a[0] - a[2] / 2, b[0] - b[2] / 2), torch.max(a[0] + a[2] / 2, b[0] + b[2] / 2)
    my, My = torch.min(a[1] - a[3] / 2, b[1] - b[3] / 2), torch.max(a[1] + a[3] / 2, b[1] + b[3] / 2)
    cw, ch = a[2] + b[2] - (Mx - mx), a[3] + b[3] - (My - my)
    carea = torch.where((cw <= 0) | (ch <= 0), torch.zeros_like(cw), cw * ch)
    return carea / (a[2] * a[3] + b[2] * b[3] - carea)


def build_targets(pred_boxes, target, anchors, nH, nW, noobject_scale, object_scale, sil_thresh):
    nB, nA = target.size(0), len(anchors)
    nAnchors = nA * nH * nW
    conf_mask = torch.ones(nB, nA, nH, nW) * noobject_scale
    coord_mask, cls_mask, tconf, tcls = (torch.zeros(nB, nA, nH, nW) for _ in range(4))
    tcoord = torch.zeros(4, nB, nA, nH, nW)
    scale = torch.tensor([nW, nH, nW, nH], dtype=torch.float)

    for b in range(nB):
        cur_pred_boxes = pred_boxes[b * nAnchors:(b + 1) * nAnchors].t()
        cur_ious = torch.zeros(nAnchors)
        for t in range(target.size(1) // 5):
            box = target[b][t * 5 + 1:t * 5 + 5]
            if box[0] == 0:
                break
            cur_gt_boxes = (box * scale).repeat(nAnchors, 1).t()
            cur_ious = torch.max(cur_ious, bbox_ious(cur_pred_boxes, cur_gt_boxes))
        conf_mask[b][cur_ious > sil_thresh] = 0

    for b in range(nB):
        for t in range(target.size(1) // 5):
            cls, box = target[b][t * 5], target[b][t * 5 + 1:t * 5 + 5]
            if box[0] == 0:
                break
            gx, gy, gw, gh = (box * scale).tolist()
            gi, gj = int(gx), int(gy)
            best_n = max(range(nA), key=lambda n: min(gw, anchors[n][0]) * min(gh, anchors[n][1]) / max(gw * gh, anchors[n][0] * anchors[n][1]))
            pred_box = pred_boxes[b * nAnchors + best_n * nH * nW + gj * nW + gi]
            where = (b, best_n, gj, gi)
            coord_mask[where], cls_mask[where], conf_mask[where] = 1, 1, object_scale
            tcoord[(slice(None),) + where] = torch.tensor([gx - gi, gy - gj, gw / anchors[best_n][0], gh / anchors[best_n][1]])
            tconf[where] = bbox_ious(pred_box.unsqueeze(1), (box * scale).unsqueeze(1))[0]
            tcls[where] = cls
    tcoord[2:] = tcoord[2:].clamp(min=1e-3).log()
    return coord_mask, conf_mask, cls_mask, tcoord, tconf, tcls


class RegionLoss(nn.Module):
    def __init__(self, num_classes, anchors):
        super().__init__()
        self.num_classes, self.anchors = num_classes, anchors
        self.object_scale, self.noobject_scale, self.thresh = 5, 1, 0.6

    def forward(self, output, target):
        nB, nA, nC = output.size(0), len(self.anchors), self.num_classes
        nH, nW = output.size(2), output.size(3)
        output = output.view(nB, nA, 5 + nC, nH, nW)
        xy, wh, conf = torch.sigmoid(output[:, :, :2]), output[:, :, 2:4], torch.sigmoid(output[:, :, 4])
        cls = output[:, :, 5:].permute(0, 1, 3, 4, 2).reshape(-1, nC)

        grid = torch.stack(torch.meshgrid(torch.arange(nW), torch.arange(nH), indexing='xy')).float()
        anchors = torch.tensor(self.anchors)
        boxes = torch.cat([xy.detach() + grid, wh.detach().exp() * anchors.view(1, nA, 2, 1, 1)], 2)
        pred_boxes = boxes.permute(0, 1, 3, 4, 2).reshape(-1, 4)

        coord_mask, conf_mask, cls_mask, tcoord, tconf, tcls = build_targets(
            pred_boxes, target, self.anchors, nH, nW, self.noobject_scale, self.object_scale, self.thresh)
        coords = torch.cat([xy, wh], 2).permute(2, 0, 1, 3, 4)
        loss_coord = F.mse_loss(coords * coord_mask, tcoord * coord_mask, reduction='sum') / 2
        loss_conf = F.mse_loss(conf * conf_mask.sqrt(), tconf * conf_mask.sqrt(), reduction='sum') / 2
        chosen = cls_mask.view(-1).bool()
        loss_cls = F.cross_entropy(cls[chosen], tcls.view(-1)[chosen].long(), reduction='sum')
        return loss_coord + loss_conf + loss_cls


class TinyDarknet(nn.Module):
    def __init__(self, num_classes=20, anchors=((1.3221, 1.7315), (3.1928, 4.0094), (5.0559, 8.0989), (9.4711, 4.8405), (11.2364, 10.0071))):
        super().__init__()
        layers, c = [], 3
        for filters in (8, 16, 32, 32, 64):
            layers += [nn.Conv2d(c, filters, 3, padding=1, bias=False), nn.BatchNorm2d(filters), nn.LeakyReLU(0.1), nn.MaxPool2d(2, 2)]
            c = filters
        self.models = nn.Sequential(*layers, nn.Conv2d(c, len(anchors) * (5 + num_classes), 1))
        self.loss = RegionLoss(num_classes, anchors)

    def forward(self, x):
        return self.models(x)


def voc_batch(batch=5, side=160, max_boxes=50):
    images, target = torch.rand(batch, 3, side, side), torch.zeros(batch, max_boxes * 5)
    for b in range(batch):
        for t in range(1 + b % 3):
            target[b, t * 5] = float(torch.randint(0, 20, (1,)))
            target[b, t * 5 + 1:t * 5 + 5] = torch.rand(4) * 0.5 + 0.2
    return images, target


def build():
    torch.manual_seed(0)
    return TinyDarknet()


def step(model):
    images, target = voc_batch()
    return model.loss(model(images), target)


# the thread's repair: conf_mask[b][torch.reshape(cur_ious, (nA, nH, nW)) > sil_thresh] = 0
TRUTH = dict(raises='IndexError', at='function:setitem', culprits=['function:setitem', 'function:gt', 'function:max'], dim=0, got=125, wanted=5,
             hint_any=['reshape', 'view', 'mask', 'flat', '125'])
MENDED = [('conf_mask[b][cur_ious > sil_thresh] = 0', 'conf_mask[b][cur_ious.view(nA, nH, nW) > sil_thresh] = 0')]
