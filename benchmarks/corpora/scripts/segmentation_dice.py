import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, HEIGHT, WIDTH, CHANNELS = 3, 20, 28, 6


class SegNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Conv2d(3, CHANNELS, 3, stride=2, padding=1)
        self.mid = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=2, dilation=2)
        self.cls = nn.Conv2d(CHANNELS, 1, 1)

    def forward(self, x):
        h = F.relu(self.enc(x))
        h = h + F.relu(self.mid(h))
        out = self.cls(h)
        out = F.interpolate(out, size=x.shape[2:], mode="bilinear", align_corners=False)
        return out.squeeze(1)


def dice_loss(logits, target, eps=1.0):
    probs = torch.sigmoid(logits).flatten(1)
    target = target.flatten(1)
    overlap = (probs * target).sum(dim=1)
    union = probs.sum(dim=1) + target.sum(dim=1)
    return (1 - (2 * overlap + eps) / (union + eps)).mean()


def build():
    return SegNet()


def step(model):
    images = torch.rand(BATCH, 3, HEIGHT, WIDTH)
    masks = torch.randint(0, 2, (BATCH, HEIGHT, WIDTH)).float()
    logits = model(images)
    bce = F.binary_cross_entropy_with_logits(logits, masks)
    return bce + dice_loss(logits, masks)


EQUAL = dict(BATCH=8, HEIGHT=8, WIDTH=8, CHANNELS=8)
