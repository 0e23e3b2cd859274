import torch
import torch.nn as nn

SOURCE = 'https://github.com/kornia/kornia/issues/1308'
CATEGORY = 'silent'
DESCRIPTION = 'binary_focal_loss_with_logits unsqueezes a target that already has the logits\' shape: the loss is computed for all pairs of images.'


def binary_focal_loss_with_logits(input, target, alpha=0.25, gamma=2.0, reduction='none', eps=1e-8):
    if not isinstance(input, torch.Tensor):
        raise TypeError('Input type is not a torch.Tensor. Got {}'.format(type(input)))
    if not len(input.shape) >= 2:
        raise ValueError('Invalid input shape, we expect BxCx*. Got: {}'.format(input.shape))
    if input.size(0) != target.size(0):
        raise ValueError('Expected input batch_size ({}) to match target batch_size ({}).'.format(input.size(0), target.size(0)))

    probs = torch.sigmoid(input)
    target = target.unsqueeze(dim=1)
    loss_tmp = -alpha * torch.pow((1.0 - probs + eps), gamma) * target * torch.log(probs + eps) - (
        1 - alpha) * torch.pow(probs + eps, gamma) * (1.0 - target) * torch.log(1.0 - probs + eps)
    loss_tmp = loss_tmp.squeeze(dim=1)

    if reduction == 'none':
        loss = loss_tmp
    elif reduction == 'mean':
        loss = torch.mean(loss_tmp)
    elif reduction == 'sum':
        loss = torch.sum(loss_tmp)
    else:
        raise NotImplementedError('Invalid reduction mode: {}'.format(reduction))
    return loss


class BinaryFocalLossWithLogits(nn.Module):
    def __init__(self, alpha, gamma=2.0, reduction='none'):
        super().__init__()
        self.alpha, self.gamma, self.reduction = alpha, gamma, reduction

    def forward(self, input, target):
        return binary_focal_loss_with_logits(input, target, self.alpha, self.gamma, self.reduction)


def conv_block(cin, cout):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1), nn.BatchNorm2d(cout), nn.ReLU())


class SmallUNet(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.down1 = conv_block(3, width)
        self.down2 = conv_block(width, 2 * width)
        self.pool = nn.MaxPool2d(2)
        self.up = nn.Upsample(scale_factor=2, mode='bilinear', align_corners=False)
        self.up1 = conv_block(3 * width, width)
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(self.pool(a))
        return self.head(self.up1(torch.cat([a, self.up(b)], dim=1)))


class RoadDataset(torch.utils.data.Dataset):
    def __len__(self):
        return 5

    def __getitem__(self, i):
        image = torch.rand(3, 12, 16)
        return image, (image.mean(0, keepdim=True) > 0.6).float()


def build():
    return SmallUNet()


def step(model):
    loader = torch.utils.data.DataLoader(RoadDataset(), batch_size=5)
    criterion = BinaryFocalLossWithLogits(alpha=0.25, reduction='mean')
    for image, mask in loader:
        loss = criterion(model(image), mask)
        loss.backward()
    return loss.detach()


# logits (5, 1, 12, 16) against (5, 1, 1, 12, 16): (5, 5, 1, 12, 16); real fix: no unsqueeze (and no squeeze)
TRUTH = dict(raises=None, at='function:mul', culprits=['function:unsqueeze', 'target'], dim=1, got=1, wanted=None,
             hint_any=['broadcast', 'unsqueeze', '(5, 5', 'pairs'])
MENDED = [('    target = target.unsqueeze(dim=1)\n', '')]
