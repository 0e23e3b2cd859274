import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, IMAGE, WIDTH, ANCHORS, CLASSES = 2, 32, 8, 3, 6


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, WIDTH, 3, stride=2, padding=1),
            nn.BatchNorm2d(WIDTH),
            nn.ReLU(),
            nn.Conv2d(WIDTH, WIDTH * 2, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.cls_head = nn.Conv2d(WIDTH * 2, ANCHORS * CLASSES, 3, padding=1)
        self.box_head = nn.Conv2d(WIDTH * 2, ANCHORS * 4, 3, padding=1)

    def forward(self, x):
        features = self.backbone(x)
        n = features.shape[0]
        cls = self.cls_head(features).permute(0, 2, 3, 1).reshape(n, -1, CLASSES)
        box = self.box_head(features).permute(0, 2, 3, 1).reshape(n, -1, 4)
        return cls, box


def build():
    return Detector()


def step(model):
    images = torch.rand(BATCH, 3, IMAGE, IMAGE)
    cls, box = model(images)
    anchors = (IMAGE // 4) ** 2 * ANCHORS
    labels = torch.randint(0, CLASSES, (BATCH, anchors))
    boxes = torch.rand(BATCH, anchors, 4)
    foreground = labels > 0
    loss_cls = F.cross_entropy(cls.reshape(-1, CLASSES), labels.reshape(-1))
    loss_box = F.smooth_l1_loss(box[foreground], boxes[foreground])
    return loss_cls + loss_box


EQUAL = dict(BATCH=4, IMAGE=16, WIDTH=4, ANCHORS=4, CLASSES=4)
