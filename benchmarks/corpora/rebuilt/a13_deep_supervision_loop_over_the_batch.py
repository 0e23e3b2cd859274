import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/jeya-maria-jose/UNeXt-pytorch/issues/7'
CATEGORY = 'loss'
DESCRIPTION = 'deep_supervision=True makes the training loop iterate over the outputs, but the network returns one tensor: the loop runs over the images of the batch.'


def parse_args(argv):
    parser = argparse.ArgumentParser()
    parser.add_argument('--arch', default='UNext')
    parser.add_argument('--deep_supervision', default='False')
    parser.add_argument('--input_channels', default=3, type=int)
    parser.add_argument('--num_classes', default=1, type=int)
    parser.add_argument('-b', '--batch_size', default=8, type=int)
    parser.add_argument('--input_h', default=64, type=int)
    args = parser.parse_args(argv)
    args.deep_supervision = args.deep_supervision.lower() in ('true', '1')
    return args


CONFIG = vars(parse_args(['--deep_supervision', 'True']))


class BCEDiceLoss(nn.Module):
    def forward(self, input, target):
        bce = F.binary_cross_entropy_with_logits(input, target)
        smooth = 1e-5
        input = torch.sigmoid(input)
        num = target.size(0)
        input, target = input.view(num, -1), target.view(num, -1)
        dice = (2. * (input * target).sum(1) + smooth) / (input.sum(1) + target.sum(1) + smooth)
        return 0.5 * bce + 1 - dice.sum() / num


class ShiftMLP(nn.Module):
    def __init__(self, dim, shift=2):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1, self.fc2 = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.dw = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.shift = shift

    def forward(self, x, h, w):
        b, n, c = x.shape
        y = self.norm(x).transpose(1, 2).view(b, c, h, w)
        y = torch.cat([torch.roll(p, s, 2) for p, s in zip(y.chunk(4, 1), range(-self.shift, self.shift))], 1)
        y = self.fc1(y.flatten(2).transpose(1, 2))
        y = self.dw(y.transpose(1, 2).reshape(b, c, h, w)).flatten(2).transpose(1, 2)
        return x + self.fc2(F.gelu(y))


class UNext(nn.Module):
    def __init__(self, num_classes, input_channels=3, deep_supervision=False, dims=(8, 16, 32)):
        super().__init__()
        self.encoder1, self.encoder2 = nn.Conv2d(input_channels, dims[0], 3, 1, 1), nn.Conv2d(dims[0], dims[1], 3, 1, 1)
        self.ebn1, self.ebn2 = nn.BatchNorm2d(dims[0]), nn.BatchNorm2d(dims[1])
        self.patch_embed = nn.Conv2d(dims[1], dims[2], 3, 2, 1)
        self.block = ShiftMLP(dims[2])
        self.decoder1, self.decoder2 = nn.Conv2d(dims[2], dims[1], 3, 1, 1), nn.Conv2d(dims[1], dims[0], 3, 1, 1)
        self.dbn1 = nn.BatchNorm2d(dims[1])
        self.final = nn.Conv2d(dims[0], num_classes, 1)

    def forward(self, x):
        t1 = F.relu(F.max_pool2d(self.ebn1(self.encoder1(x)), 2))
        t2 = F.relu(F.max_pool2d(self.ebn2(self.encoder2(t1)), 2))
        out = self.patch_embed(t2)
        h, w = out.shape[2:]
        out = self.block(out.flatten(2).transpose(1, 2), h, w).transpose(1, 2).reshape(len(x), -1, h, w)
        out = F.relu(F.interpolate(self.dbn1(self.decoder1(out)), scale_factor=2, mode='bilinear')) + t2
        out = F.relu(F.interpolate(self.decoder2(out), scale_factor=2, mode='bilinear')) + t1
        return self.final(F.interpolate(out, scale_factor=2, mode='bilinear'))


def iou_score(output, target):
    output, target = torch.sigmoid(output).detach() > 0.5, target > 0.5
    return ((output & target).sum() / (output | target).sum().clamp(min=1)).item()


def train(config, train_loader, model, criterion):
    total = 0.
    for input, target, _ in train_loader:
        if config['deep_supervision']:
            outputs = model(input)
            loss = 0
            for output in outputs:
                loss += criterion(output, target)
            loss /= len(outputs)
            iou = iou_score(outputs[-1], target)
        else:
            output = model(input)
            loss = criterion(output, target)
            iou = iou_score(output, target)
        total = total + loss
    return total / len(train_loader)


def build():
    return UNext(CONFIG['num_classes'], CONFIG['input_channels'], CONFIG['deep_supervision'])


def step(model):
    side, b = CONFIG['input_h'], CONFIG['batch_size']
    loader = [(torch.rand(b, 3, side, side), (torch.rand(b, 1, side, side) > 0.7).float(), {'img_id': list(range(b))})]
    return train(CONFIG, loader, model, BCEDiceLoss())


# real fix: the network has one output: --deep_supervision False (or outputs = [model(input)])
# offending tensor: output (1, 64, 64), one image of the batch; target (8, 1, 64, 64)
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy_with_logits',
             culprits=['function:unbind', 'function:iter', 'function:getitem', ''], dim=0, got=1, wanted=8,
             hint_any=['iterat', 'loop', 'unbind', 'batch', 'one image', 'deep_supervision'])
MENDED = [("'--deep_supervision', 'True'", "'--deep_supervision', 'False'")]
