import torch
from torch import nn

SOURCE = 'https://github.com/braindecode/braindecode/pull/955'
CATEGORY = 'layer'
DESCRIPTION = 'EEG network with squeeze-and-excitation: the second 1x1 convolution takes reduction_rate channels, the first one makes in_channels // reduction_rate.'


class SqueezeAndExcitation(nn.Module):
    """Squeeze-and-Excitation Networks from [Hu2018]_.

    Parameters
    ----------
    in_channels : int,
        number of input feature channels.
    reduction_rate : int,
        reduction ratio of the fully-connected layers.
    """

    def __init__(self, in_channels: int, reduction_rate: int, bias: bool = False):
        super().__init__()
        sq_channels = int(in_channels // reduction_rate)
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(in_channels=in_channels, out_channels=sq_channels, kernel_size=1, bias=bias)
        self.nonlinearity = nn.ReLU()
        self.fc2 = nn.Conv2d(in_channels=reduction_rate, out_channels=in_channels, kernel_size=1, bias=bias)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x):
        scale = self.gap(x)
        scale = self.fc1(scale)
        scale = self.nonlinearity(scale)
        scale = self.fc2(scale)
        scale = self.sigmoid(scale)
        return scale * x


class _FeatureExtractor(nn.Module):
    def __init__(self, n_chans, n_temporal_filters, kernel=15, pool=4):
        super().__init__()
        self.temporal_conv = nn.Conv2d(1, n_temporal_filters, (1, kernel), padding=(0, kernel // 2), bias=False)
        self.bn1 = nn.BatchNorm2d(n_temporal_filters)
        self.spatial_conv = nn.Conv2d(n_temporal_filters, n_temporal_filters, (n_chans, 1), groups=n_temporal_filters, bias=False)
        self.bn2 = nn.BatchNorm2d(n_temporal_filters)
        self.pool = nn.AvgPool2d((1, pool))

    def forward(self, x):
        x = self.bn1(self.temporal_conv(x))
        x = self.bn2(self.spatial_conv(x))
        return self.pool(nn.functional.elu(x))


class _ChannelAttentionBlock(nn.Module):
    def __init__(self, in_channels, out_channels, reduction_rate, kernel=9, drop=0.1):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(in_channels, in_channels, (1, kernel), padding=(0, kernel // 2), groups=in_channels, bias=False),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ELU(),
        )
        self.attention_block = SqueezeAndExcitation(out_channels, reduction_rate)
        self.drop = nn.Dropout(drop)

    def forward(self, x):
        return self.drop(self.attention_block(self.conv(x)))


class AttentionBaseNet(nn.Module):
    def __init__(self, n_chans=22, n_outputs=4, widths=(16, 32, 32), reduction_rate=4):
        super().__init__()
        self.input_block = _FeatureExtractor(n_chans, widths[0])
        blocks = []
        prev = widths[0]
        for w in widths:
            blocks.append(_ChannelAttentionBlock(prev, w, reduction_rate))
            prev = w
        self.channel_attention_block = nn.Sequential(*blocks)
        self.final_layer = nn.Linear(prev, n_outputs)

    def forward(self, x):
        x = self.input_block(x.unsqueeze(1))
        x = self.channel_attention_block(x)
        return self.final_layer(x.mean(dim=(2, 3)))


def build():
    torch.manual_seed(0)
    return AttentionBaseNet()


def step(model):
    torch.manual_seed(1)
    X = torch.randn(8, 22, 200)
    y = torch.randint(0, 4, (8,))
    return nn.functional.cross_entropy(model(X), y)


# real fix: in_channels=sq_channels in fc2 (16 // 4 == 4 in the first block, 32 // 4 == 8 in the second)
# offending tensor: scale (8, 8, 1, 1)
TRUTH = dict(raises='RuntimeError', at='module:channel_attention_block.1.attention_block.fc2',
             culprits=['channel_attention_block.1.attention_block.fc2'], dim=1, got=8, wanted=4,
             hint_any=['in_channels', 'sq_channels', 'reduction'])
MENDED = [('self.fc2 = nn.Conv2d(in_channels=reduction_rate', 'self.fc2 = nn.Conv2d(in_channels=sq_channels')]
