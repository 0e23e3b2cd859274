import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/wolny/pytorch-3dunet/issues/5'
CATEGORY = 'loss'
DESCRIPTION = '3D U-Net with out_channels=2 (from a cross-entropy run) and a binary label of one channel in a BCE + Dice loss.'

CONFIG = {
    'model': {'name': 'UNet3D', 'in_channels': 1, 'out_channels': 2, 'f_maps': 8, 'num_levels': 3, 'layer_order': 'gcr', 'num_groups': 4},
    'loss': {'name': 'BCEDiceLoss', 'alpha': 1.0, 'beta': 1.0},
    'loaders': {'patch_shape': (16, 32, 32), 'batch_size': 2},
}


def create_conv(in_channels, out_channels, order, num_groups):
    modules = []
    for char in order:
        if char == 'r':
            modules.append(('ReLU', nn.ReLU(inplace=True)))
        elif char == 'c':
            modules.append(('conv', nn.Conv3d(in_channels, out_channels, 3, padding=1, bias=False)))
        elif char == 'g':
            num_channels = in_channels if order.index('g') < order.index('c') else out_channels
            modules.append(('groupnorm', nn.GroupNorm(1 if num_channels < num_groups else num_groups, num_channels)))
    return modules


class SingleConv(nn.Sequential):
    def __init__(self, in_channels, out_channels, order, num_groups):
        super().__init__()
        for name, module in create_conv(in_channels, out_channels, order, num_groups):
            self.add_module(name, module)


class DoubleConv(nn.Sequential):
    def __init__(self, in_channels, out_channels, encoder, order, num_groups):
        super().__init__()
        mid = max(out_channels // 2, in_channels) if encoder else out_channels
        self.add_module('SingleConv1', SingleConv(in_channels, mid, order, num_groups))
        self.add_module('SingleConv2', SingleConv(mid, out_channels, order, num_groups))


class Encoder(nn.Module):
    def __init__(self, in_channels, out_channels, apply_pooling, **kw):
        super().__init__()
        self.pooling = nn.MaxPool3d(2) if apply_pooling else None
        self.basic_module = DoubleConv(in_channels, out_channels, encoder=True, **kw)

    def forward(self, x):
        return self.basic_module(x if self.pooling is None else self.pooling(x))


class Decoder(nn.Module):
    def __init__(self, in_channels, out_channels, **kw):
        super().__init__()
        self.basic_module = DoubleConv(in_channels, out_channels, encoder=False, **kw)

    def forward(self, encoder_features, x):
        x = F.interpolate(x, size=encoder_features.size()[2:], mode='nearest')
        return self.basic_module(torch.cat((encoder_features, x), dim=1))


class UNet3D(nn.Module):
    def __init__(self, in_channels, out_channels, f_maps, num_levels, layer_order, num_groups, **_):
        super().__init__()
        maps, kw = [f_maps * 2 ** k for k in range(num_levels)], dict(order=layer_order, num_groups=num_groups)
        self.encoders = nn.ModuleList([Encoder(in_channels if i == 0 else maps[i - 1], m, i > 0, **kw) for i, m in enumerate(maps)])
        rev = maps[::-1]
        self.decoders = nn.ModuleList([Decoder(rev[i] + rev[i + 1], rev[i + 1], **kw) for i in range(num_levels - 1)])
        self.final_conv = nn.Conv3d(maps[0], out_channels, 1)

    def forward(self, x):
        encoders_features = []
        for encoder in self.encoders:
            x = encoder(x)
            encoders_features.insert(0, x)
        for decoder, features in zip(self.decoders, encoders_features[1:]):
            x = decoder(features, x)
        return self.final_conv(x)


def flatten(tensor):
    axis_order = (1, 0) + tuple(range(2, tensor.dim()))
    return tensor.permute(axis_order).contiguous().view(tensor.size(1), -1)


class DiceLoss(nn.Module):
    def forward(self, input, target, epsilon=1e-6):
        input, target = flatten(torch.sigmoid(input)), flatten(target)
        intersect = (input * target).sum(-1)
        denominator = (input * input).sum(-1) + (target * target).sum(-1)
        return 1. - torch.mean(2 * (intersect / denominator.clamp(min=epsilon)))


class BCEDiceLoss(nn.Module):
    def __init__(self, alpha, beta):
        super().__init__()
        self.alpha, self.beta = alpha, beta
        self.bce, self.dice = nn.BCEWithLogitsLoss(), DiceLoss()

    def forward(self, input, target):
        return self.alpha * self.bce(input, target) + self.beta * self.dice(input, target)


def load_batch(patch_shape, batch_size):
    raw = torch.randn(batch_size, 1, *patch_shape)
    label = (F.avg_pool3d(raw, 3, 1, 1) > 0.2).float()
    return raw, label


def build():
    return UNet3D(**CONFIG['model'])


def step(model):
    loss_criterion = BCEDiceLoss(CONFIG['loss']['alpha'], CONFIG['loss']['beta'])
    input, target = load_batch(**CONFIG['loaders'])
    return loss_criterion(model(input), target)


# real fix: out_channels=1 (or one channel of labels for each output channel)
# offending tensor: the output (2, 2, 16, 32, 32)
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy_with_logits', culprits=['final_conv', 'target'], dim=1, got=2, wanted=1,
             hint_any=['out_channels', 'channel', 'one-hot', 'one_hot', 'cross_entropy', 'crossentropy'])
MENDED = [("'out_channels': 2", "'out_channels': 1")]
