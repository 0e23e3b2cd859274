import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/qubvel-org/segmentation_models.pytorch/issues/712'
CATEGORY = 'correct'
DESCRIPTION = 'Multiclass dice of segmentation_models.pytorch: intersection and cardinality are summed over dims (0, 2), the batch too, and averaged over classes.'


class ConvBlock(nn.Sequential):
    def __init__(self, cin, cout):
        super().__init__(nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True))


class Unet(nn.Module):
    def __init__(self, in_channels=3, classes=5, widths=(8, 16, 32)):
        super().__init__()
        self.encoder = nn.ModuleList(ConvBlock(a, b) for a, b in zip((in_channels, *widths[:-1]), widths))
        self.decoder = nn.ModuleList(ConvBlock(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1]))
        self.segmentation_head = nn.Conv2d(widths[0], classes, 3, padding=1)

    def forward(self, x):
        features = []
        for i, block in enumerate(self.encoder):
            x = block(x if i == 0 else F.max_pool2d(x, 2))
            features.append(x)
        for block, skip in zip(self.decoder, features[-2::-1]):
            x = F.interpolate(x, scale_factor=2, mode='nearest')
            x = block(torch.cat([x, skip], dim=1))
        return self.segmentation_head(x)


def soft_dice_score(output, target, smooth=0.0, eps=1e-7, dims=None):
    if dims is not None:
        intersection = torch.sum(output * target, dim=dims)
        cardinality = torch.sum(output + target, dim=dims)
    else:
        intersection = torch.sum(output * target)
        cardinality = torch.sum(output + target)
    return (2.0 * intersection + smooth) / (cardinality + smooth).clamp_min(eps)


class DiceLoss(nn.Module):
    def __init__(self, from_logits=True, smooth=0.0, ignore_index=None, eps=1e-7):
        super().__init__()
        self.from_logits, self.smooth = from_logits, smooth
        self.ignore_index, self.eps = ignore_index, eps

    def forward(self, y_pred, y_true):
        if self.from_logits:
            y_pred = y_pred.log_softmax(dim=1).exp()
        bs, num_classes = y_true.size(0), y_pred.size(1)
        dims = (0, 2)
        y_true = y_true.view(bs, -1)
        y_pred = y_pred.view(bs, num_classes, -1)
        mask = y_true != self.ignore_index
        y_pred = y_pred * mask.unsqueeze(1)
        y_true = F.one_hot((y_true * mask).to(torch.long), num_classes)
        y_true = y_true.permute(0, 2, 1) * mask.unsqueeze(1)
        scores = soft_dice_score(y_pred, y_true.type_as(y_pred), smooth=self.smooth, eps=self.eps, dims=dims)
        loss = 1.0 - scores
        loss = loss * (y_true.sum(dims) > 0).to(loss.dtype)
        return loss.mean()


def build():
    return Unet()


def step(model):
    images = torch.randn(5, 3, 32, 32)
    masks = torch.randint(0, 5, (5, 32, 32))
    masks[:, :2] = 255
    logits = model(images)
    return DiceLoss(ignore_index=255)(logits, masks) + F.cross_entropy(logits, masks, ignore_index=255)


TRUTH = dict(raises=None, at=None, culprits=[])
