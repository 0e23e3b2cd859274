import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/albanie/mcnFasterRCNN/issues/6 (Matlab there: 84 against 132)'
CATEGORY = 'loss'
DESCRIPTION = 'Fast R-CNN head on an own data set of 33 classes: the classifier follows num_classes, the box branch was left at the 21 classes of VOC.'


class FastRCNNHead(nn.Module):
    def __init__(self, channels_in=64, num_classes=21):
        super().__init__()
        self.fc6 = nn.Linear(channels_in * 9, 128)
        self.fc7 = nn.Linear(128, 128)
        self.cls_score = nn.Linear(128, num_classes)
        self.bbox_pred = nn.Linear(128, 21 * 4)

    def forward(self, rois):
        x = F.relu(self.fc6(rois.flatten(1)))
        x = F.relu(self.fc7(x))
        return self.cls_score(x), self.bbox_pred(x)


class Detector(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.base = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU())
        self.pool = nn.AdaptiveMaxPool2d(3)
        self.head = FastRCNNHead(64, num_classes)

    def forward(self, image, rois):
        feat = self.base(image)
        pooled = torch.cat([self.pool(feat[:, :, y1:y2, x1:x2]) for x1, y1, x2, y2 in rois])
        return self.head(pooled)


def expand_bbox_targets(labels, deltas, num_classes):
    targets = torch.zeros(len(labels), 4 * num_classes)
    inside = torch.zeros_like(targets)
    for i, c in enumerate(labels.tolist()):
        if c > 0:
            targets[i, 4 * c:4 * c + 4] = deltas[i]
            inside[i, 4 * c:4 * c + 4] = 1
    return targets, inside


NUM_CLASSES = 33


def build():
    return Detector(NUM_CLASSES)


def step(model):
    image = torch.randn(1, 3, 64, 64)
    rois = [(i % 8, i % 5, i % 8 + 6, i % 5 + 8) for i in range(32)]
    labels = torch.randint(0, NUM_CLASSES, (32,))
    targets, inside = expand_bbox_targets(labels, torch.randn(32, 4), NUM_CLASSES)
    scores, bbox_pred = model(image, rois)
    loss_cls = F.cross_entropy(scores, labels)
    loss_bbox = F.smooth_l1_loss(bbox_pred, targets, reduction='none')
    return loss_cls + (loss_bbox * inside).sum() / len(labels)


# real fix (thread): the number of classes of the box branch
TRUTH = dict(raises='RuntimeError', at='loss:smooth_l1_loss', culprits=['head.bbox_pred'], dim=1, got=84, wanted=132,
             hint_any=['84', '132', 'bbox_pred', 'class'])
MENDED = [('nn.Linear(128, 21 * 4)', 'nn.Linear(128, num_classes * 4)')]
