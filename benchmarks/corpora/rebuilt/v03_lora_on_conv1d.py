import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/microsoft/LoRA/issues/115 and https://github.com/Baijiong-Lin/LoRA-Torch/issues/8'
CATEGORY = 'layer'
DESCRIPTION = 'loralib ConvLoRA was written for Conv2d: for Conv1d the product B @ A has kernel_size times too many elements for the weight.'


class LoRALayer:
    def __init__(self, r, lora_alpha, lora_dropout, merge_weights):
        self.r, self.lora_alpha = r, lora_alpha
        self.lora_dropout = nn.Dropout(p=lora_dropout) if lora_dropout > 0. else (lambda x: x)
        self.merged, self.merge_weights = False, merge_weights


class ConvLoRA(nn.Module, LoRALayer):
    def __init__(self, conv_module, in_channels, out_channels, kernel_size, r=0, lora_alpha=1, lora_dropout=0.,
                 merge_weights=True, **kwargs):
        super().__init__()
        self.conv = conv_module(in_channels, out_channels, kernel_size, **kwargs)
        LoRALayer.__init__(self, r=r, lora_alpha=lora_alpha, lora_dropout=lora_dropout, merge_weights=merge_weights)
        if r > 0:
            self.lora_A = nn.Parameter(self.conv.weight.new_zeros((r * kernel_size, in_channels * kernel_size)))
            self.lora_B = nn.Parameter(
                self.conv.weight.new_zeros((out_channels // self.conv.groups * kernel_size, r * kernel_size)))
            self.scaling = self.lora_alpha / self.r
            self.conv.weight.requires_grad = False
        self.reset_parameters()

    def reset_parameters(self):
        self.conv.reset_parameters()
        if hasattr(self, 'lora_A'):
            nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
            nn.init.zeros_(self.lora_B)

    def forward(self, x):
        if self.r > 0 and not self.merged:
            delta = (self.lora_B @ self.lora_A).view(self.conv.weight.shape)
            return self.conv._conv_forward(x, self.conv.weight + delta * self.scaling, self.conv.bias)
        return self.conv(x)


class Conv1d(ConvLoRA):
    def __init__(self, *args, **kwargs):
        super().__init__(nn.Conv1d, *args, **kwargs)


class Residual(nn.Module):
    def __init__(self, fn):
        super().__init__()
        self.fn = fn

    def forward(self, x):
        return x + self.fn(x)


def ConvBlock(dim, dim_out=None, kernel_size=1):
    return nn.Sequential(nn.BatchNorm1d(dim), nn.GELU(), nn.Conv1d(dim, dim_out or dim, kernel_size, padding=kernel_size // 2))


class Enformer(nn.Module):
    def __init__(self, dim=48, depth=2, heads=4, num_tracks=5):
        super().__init__()
        half_dim = dim // 2
        self.stem = nn.Sequential(
            Conv1d(4, half_dim, 15, r=4, lora_alpha=8, padding=7),
            Residual(ConvBlock(half_dim)),
            nn.MaxPool1d(4))
        self.conv_tower = nn.Sequential(ConvBlock(half_dim, dim, 5), nn.MaxPool1d(4))
        self.transformer = nn.Sequential(*[
            nn.TransformerEncoderLayer(dim, heads, 2 * dim, dropout=0.0, batch_first=True) for _ in range(depth)])
        self.head = nn.Sequential(nn.Linear(dim, num_tracks), nn.Softplus())

    def forward(self, x):
        x = self.conv_tower(self.stem(x.transpose(1, 2)))
        return self.head(self.transformer(x.transpose(1, 2)))


def one_hot_dna(batch, length):
    return F.one_hot(torch.randint(0, 4, (batch, length)), 4).float()


def build():
    return Enformer()


def step(model):
    sequence = one_hot_dna(4, 256)
    tracks = torch.rand(4, 16, 5) * 3
    return F.poisson_nll_loss(model(sequence), tracks, log_input=False)


# real fix: shape lora_B for the kind of convolution: (out_channels // groups, r * kernel_size) for Conv1d
# offending tensor: lora_B @ lora_A (360, 60) = 21600 elements, the weight is (24, 4, 15) = 1440
TRUTH = dict(raises='RuntimeError', at='function:view', culprits=['function:view', 'stem.0', 'function:matmul'], dim=0, got=360, wanted=24,
             hint_any=['lora_b', '21600', '1440', '15'])
MENDED = [('self.conv.weight.new_zeros((out_channels // self.conv.groups * kernel_size, r * kernel_size))',
           'self.conv.weight.new_zeros((out_channels // self.conv.groups, r * kernel_size))')]
