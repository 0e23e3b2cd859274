import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/microsoft/LoRA/issues/115'
CATEGORY = 'layer'
DESCRIPTION = 'LoRA on all convolutions of a sequence model; the 2-d stem takes it, the 1-d tower does not.'


class LoRALayer:
    def __init__(self, r, lora_alpha, lora_dropout, merge_weights):
        self.r, self.lora_alpha = r, lora_alpha
        self.lora_dropout = nn.Dropout(p=lora_dropout) if lora_dropout > 0. else lambda x: x
        self.merged, self.merge_weights = False, merge_weights


class ConvLoRA(nn.Module, LoRALayer):
    def __init__(self, conv_module, in_channels, out_channels, kernel_size, r=0, lora_alpha=1, lora_dropout=0.,
                 merge_weights=True, **kwargs):
        super().__init__()
        self.conv = conv_module(in_channels, out_channels, kernel_size, **kwargs)
        LoRALayer.__init__(self, r=r, lora_alpha=lora_alpha, lora_dropout=lora_dropout, merge_weights=merge_weights)
        assert isinstance(kernel_size, int)
        if r > 0:
            self.lora_A = nn.Parameter(self.conv.weight.new_zeros((r * kernel_size, in_channels * kernel_size)))
            self.lora_B = nn.Parameter(self.conv.weight.new_zeros(
                (out_channels // self.conv.groups * kernel_size, r * kernel_size)))
            self.scaling = self.lora_alpha / self.r
            self.conv.weight.requires_grad = False
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def forward(self, x):
        if self.r > 0 and not self.merged:
            return self.conv._conv_forward(
                x,
                self.conv.weight + (self.lora_B @ self.lora_A).view(self.conv.weight.shape) * self.scaling,
                self.conv.bias
            )
        return self.conv(x)


class Conv1d(ConvLoRA):
    def __init__(self, *args, **kwargs):
        super().__init__(nn.Conv1d, *args, **kwargs)


class Conv2d(ConvLoRA):
    def __init__(self, *args, **kwargs):
        super().__init__(nn.Conv2d, *args, **kwargs)


class ConvBlock(nn.Module):
    def __init__(self, dim_in, dim_out, kernel_size, r):
        super().__init__()
        self.norm = nn.BatchNorm1d(dim_in)
        self.conv = Conv1d(dim_in, dim_out, kernel_size, r=r, padding=kernel_size // 2)

    def forward(self, x):
        return self.conv(F.gelu(self.norm(x)))


class SequenceModel(nn.Module):
    """regulatory activity from one-hot DNA: (batch, 4, length)"""

    def __init__(self, half_dim=24, num_downsamples=2, tracks=6, r=4):
        super().__init__()
        self.stem = Conv2d(1, half_dim, 3, r=r, padding=1)
        self.reduce = nn.Conv2d(half_dim, half_dim, (4, 1))
        dims = [half_dim] + [half_dim + 8 * i for i in range(1, num_downsamples + 1)]
        self.tower = nn.ModuleList([ConvBlock(a, b, 5, r) for a, b in zip(dims[:-1], dims[1:])])
        self.pool = nn.MaxPool1d(2)
        self.head = nn.Linear(dims[-1], tracks)

    def forward(self, x):
        x = self.reduce(F.gelu(self.stem(x.unsqueeze(1)))).squeeze(2)
        for block in self.tower:
            x = self.pool(block(x))
        return F.softplus(self.head(x.transpose(1, 2)))


def mark_only_lora_as_trainable(model):
    for n, p in model.named_parameters():
        if 'lora_' not in n and 'head' not in n:
            p.requires_grad = False


def build():
    model = SequenceModel()
    mark_only_lora_as_trainable(model)
    return model


def step(model):
    seq = F.one_hot(torch.randint(0, 4, (3, 64)), 4).float().transpose(1, 2)
    target = torch.poisson(torch.ones(3, 16, 6))
    return F.poisson_nll_loss(model(seq), target, log_input=False)


# real fix: the rows of lora_B are out_channels * kernel_size ** (conv.weight.dim() - 3), for one dimension without a kernel_size
# offending tensor: lora_B @ lora_A (160, 120) for a weight (32, 24, 5)
TRUTH = dict(raises='RuntimeError', at='function:view', culprits=['tower.0.conv', 'function:view'], dim=None, got=None, wanted=None,
             hint_any=['lora_b', 'kernel', 'conv1d', '3840', '160', '5 times'])
MENDED = [('// self.conv.groups * kernel_size, r * kernel_size', '// self.conv.groups * kernel_size ** (self.conv.weight.dim() - 3), r * kernel_size')]
