import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/qubvel-org/segmentation_models.pytorch/issues/471'
CATEGORY = 'layer'
DESCRIPTION = 'Multi-class segmentation: the IoU metric multiplies five-channel scores (8,5,H,W) with index masks (8,H,W); the focal loss took both.'


class DoubleConv(nn.Sequential):
    def __init__(self, i, o):
        super().__init__(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(inplace=True), nn.Conv2d(o, o, 3, padding=1), nn.ReLU(inplace=True))


class Unet(nn.Module):
    def __init__(self, in_channels=3, classes=5, decoder_channels=(24, 16, 8)):
        super().__init__()
        a, b, c = decoder_channels
        self.enc1, self.enc2, self.enc3 = DoubleConv(in_channels, c), DoubleConv(c, b), DoubleConv(b, a)
        self.dec2, self.dec1 = DoubleConv(a + b, b), DoubleConv(b + c, c)
        self.segmentation_head = nn.Conv2d(c, classes, 3, padding=1)

    def forward(self, x):
        e1 = self.enc1(x)
        e2 = self.enc2(F.max_pool2d(e1, 2))
        e3 = self.enc3(F.max_pool2d(e2, 2))
        d2 = self.dec2(torch.cat([F.interpolate(e3, scale_factor=2), e2], 1))
        d1 = self.dec1(torch.cat([F.interpolate(d2, scale_factor=2), e1], 1))
        return self.segmentation_head(d1)


class FocalLoss(nn.Module):
    def __init__(self, gamma=2.0):
        super().__init__()
        self.gamma = gamma

    def forward(self, y_pred, y_true):
        logpt = F.log_softmax(y_pred, 1).gather(1, y_true.unsqueeze(1)).squeeze(1)
        return -((1 - logpt.exp()) ** self.gamma * logpt).mean()


def iou(pr, gt, eps=1e-7, threshold=None):
    if threshold is not None:
        pr = (pr > threshold).type(pr.dtype)
    intersection = torch.sum(gt * pr)
    union = torch.sum(gt) + torch.sum(pr) - intersection + eps
    return (intersection + eps) / union


class TrainEpoch:
    def __init__(self, model, loss, metrics):
        self.model, self.loss, self.metrics = model, loss, metrics

    def run(self, loader):
        total, logs = 0., {}
        for x, y in loader:
            y_pred = self.model(x)
            total = total + self.loss(y_pred, y)
            for metric in self.metrics:
                logs[metric.__name__] = metric(y_pred, y, threshold=0.5).item()
        return total / len(loader), logs


def build():
    return Unet()


def step(model):
    loader = [(torch.rand(8, 3, 32, 32), torch.randint(0, 5, (8, 32, 32)))]
    loss, _ = TrainEpoch(model, FocalLoss(), [iou]).run(loader)
    return loss


# real fix: give the metric one-hot masks (or leave it out), the index masks are for the loss only
# offending tensor: gt (8, 32, 32), (8, 5, 32, 32) expected
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['target', 'input', ''], dim=None, got=8, wanted=5,
             hint_any=['one_hot', 'one-hot', 'class', 'argmax', 'mask', 'target'])
MENDED = [('metric(y_pred, y, threshold=0.5)', 'metric(y_pred, F.one_hot(y, 5).permute(0, 3, 1, 2), threshold=0.5)')]
