import torch
from torch import nn

SOURCE = 'https://github.com/eriklindernoren/PyTorch-YOLOv3/issues/96'
CATEGORY = 'correct'
DESCRIPTION = 'YOLOv3 layer: the losses take the cells that hold an object by a mask over images, anchors and grid.'

ANCHORS = [(10., 13.), (16., 30.), (33., 23.)]


def build_targets(target, anchors, num_classes, grid_size):
    nB, nA, nG = target.size(0), len(anchors), grid_size
    mask = torch.zeros(nB, nA, nG, nG, dtype=torch.bool)
    conf_mask = torch.ones(nB, nA, nG, nG, dtype=torch.bool)
    tx, ty, tw, th, tconf = (torch.zeros(nB, nA, nG, nG) for _ in range(5))
    tcls = torch.zeros(nB, nA, nG, nG, num_classes)
    for b in range(nB):
        for t in target[b]:
            if t.sum() == 0:
                continue
            gx, gy, gw, gh = (t[1:] * nG).tolist()
            gi, gj = int(gx), int(gy)
            inter = torch.minimum(torch.tensor([gw, gh]), anchors).prod(1)
            ious = inter / (gw * gh + anchors.prod(1) - inter + 1e-16)
            conf_mask[b, ious > 0.5, gj, gi] = False
            best_n = ious.argmax().item()
            mask[b, best_n, gj, gi] = True
            conf_mask[b, best_n, gj, gi] = True
            tx[b, best_n, gj, gi], ty[b, best_n, gj, gi] = gx - gi, gy - gj
            tw[b, best_n, gj, gi] = torch.log(gw / anchors[best_n, 0] + 1e-16)
            th[b, best_n, gj, gi] = torch.log(gh / anchors[best_n, 1] + 1e-16)
            tcls[b, best_n, gj, gi, int(t[0])] = 1
            tconf[b, best_n, gj, gi] = 1
    return mask, conf_mask, tx, ty, tw, th, tconf, tcls


class YOLOLayer(nn.Module):
    def __init__(self, anchors, num_classes, img_dim):
        super().__init__()
        self.anchors = anchors
        self.num_anchors = len(anchors)
        self.num_classes = num_classes
        self.bbox_attrs = 5 + num_classes
        self.image_dim = img_dim
        self.mse_loss = nn.MSELoss()
        self.bce_loss = nn.BCELoss()
        self.ce_loss = nn.CrossEntropyLoss()

    def forward(self, x, targets):
        nA, nB, nG = self.num_anchors, x.size(0), x.size(2)
        stride = self.image_dim / nG
        prediction = x.view(nB, nA, self.bbox_attrs, nG, nG).permute(0, 1, 3, 4, 2).contiguous()
        x, y = torch.sigmoid(prediction[..., 0]), torch.sigmoid(prediction[..., 1])
        w, h = prediction[..., 2], prediction[..., 3]
        pred_conf = torch.sigmoid(prediction[..., 4])
        pred_cls = prediction[..., 5:]

        scaled_anchors = torch.tensor([(a_w / stride, a_h / stride) for a_w, a_h in self.anchors])
        mask, conf_mask_all, tx, ty, tw, th, tconf, tcls = build_targets(targets, scaled_anchors, self.num_classes, nG)
        conf_mask_true = mask
        conf_mask_false = conf_mask_all & ~mask

        loss_x = self.mse_loss(x[mask], tx[mask])
        loss_y = self.mse_loss(y[mask], ty[mask])
        loss_w = self.mse_loss(w[mask], tw[mask])
        loss_h = self.mse_loss(h[mask], th[mask])
        loss_conf = self.bce_loss(pred_conf[conf_mask_false], tconf[conf_mask_false]) + self.bce_loss(
            pred_conf[conf_mask_true], tconf[conf_mask_true])
        loss_cls = (1 / nB) * self.ce_loss(pred_cls[mask], torch.argmax(tcls[mask], 1))
        return loss_x + loss_y + loss_w + loss_h + loss_conf + loss_cls


class Darknet(nn.Module):
    def __init__(self, num_classes=3, img_dim=64):
        super().__init__()
        layers, cin = [], 3
        for cout in (8, 16, 24):
            layers += [nn.Conv2d(cin, cout, 3, 2, 1, bias=False), nn.BatchNorm2d(cout), nn.LeakyReLU(0.1)]
            cin = cout
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv2d(cin, len(ANCHORS) * (5 + num_classes), 1)
        self.yolo = YOLOLayer(ANCHORS, num_classes, img_dim)

    def forward(self, images, targets):
        return self.yolo(self.head(self.body(images)), targets)


def build():
    return Darknet()


def step(model):
    images = torch.rand(3, 3, 64, 64)
    targets = torch.zeros(3, 6, 5)
    for b, count in enumerate((2, 4, 3)):
        targets[b, :count, 0] = torch.randint(0, 3, (count,)).float()
        targets[b, :count, 1:3] = torch.rand(count, 2) * 0.98
        targets[b, :count, 3:] = torch.rand(count, 2) * 0.4 + 0.1
    return model(images, targets)


# the asker takes dim 1 of the argmax for the anchors; tcls[mask] is (objects, classes) already. Three images, anchors, classes
TRUTH = dict(raises=None, culprits=[])
MENDED = []
