import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/kaijieshi7/Dynamic-convolution-Pytorch/blob/master/dynamic_conv.py'
CATEGORY = 'correct'
DESCRIPTION = 'Forecaster whose kernels are made for each sample by a small hypernetwork: the batch goes into the channels of one grouped convolution and comes back; RevIN over time.'


class Attention1d(nn.Module):
    def __init__(self, in_planes, ratio, K, temperature):
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool1d(1)
        self.fc1 = nn.Conv1d(in_planes, int(in_planes * ratio) + 1, 1)
        self.fc2 = nn.Conv1d(int(in_planes * ratio) + 1, K, 1)
        self.temperature = temperature

    def forward(self, x):
        x = F.relu(self.fc1(self.avgpool(x)))
        x = self.fc2(x).view(x.size(0), -1)
        return F.softmax(x / self.temperature, 1)


class DynamicConv1d(nn.Module):
    def __init__(self, in_planes, out_planes, kernel_size, ratio=0.25, padding=1, groups=1, K=4, temperature=34):
        super().__init__()
        self.in_planes, self.out_planes, self.kernel_size = in_planes, out_planes, kernel_size
        self.padding, self.groups, self.K = padding, groups, K
        self.attention = Attention1d(in_planes, ratio, K, temperature)
        self.weight = nn.Parameter(torch.randn(K, out_planes, in_planes // groups, kernel_size) * 0.1)
        self.bias = nn.Parameter(torch.zeros(K, out_planes))

    def forward(self, x):
        softmax_attention = self.attention(x)
        batch_size, in_planes, length = x.size()
        x = x.reshape(1, -1, length)
        weight = self.weight.view(self.K, -1)
        aggregate_weight = torch.mm(softmax_attention, weight).view(-1, in_planes // self.groups, self.kernel_size)
        aggregate_bias = torch.mm(softmax_attention, self.bias).view(-1)
        output = F.conv1d(x, weight=aggregate_weight, bias=aggregate_bias, padding=self.padding,
                          groups=self.groups * batch_size)
        return output.view(batch_size, self.out_planes, output.size(-1))


class RevIN(nn.Module):
    def __init__(self, num_features, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.affine_weight = nn.Parameter(torch.ones(num_features))
        self.affine_bias = nn.Parameter(torch.zeros(num_features))

    def norm(self, x):
        self.mean = x.mean(dim=1, keepdim=True).detach()
        self.stdev = torch.sqrt(x.var(dim=1, keepdim=True, unbiased=False) + self.eps).detach()
        return (x - self.mean) / self.stdev * self.affine_weight + self.affine_bias

    def denorm(self, x):
        return (x - self.affine_bias) / (self.affine_weight + self.eps ** 2) * self.stdev + self.mean


class Forecaster(nn.Module):
    def __init__(self, channels=7, seq_len=32, pred_len=12, hidden=8, blocks=2):
        super().__init__()
        self.revin = RevIN(channels)
        self.inp = nn.Conv1d(channels, hidden, 1)
        self.blocks = nn.ModuleList([DynamicConv1d(hidden, hidden, 3) for _ in range(blocks)])
        self.time = nn.Linear(seq_len, pred_len)
        self.out = nn.Linear(hidden, channels)

    def forward(self, x):
        x = self.revin.norm(x)
        h = self.inp(x.transpose(1, 2))
        for block in self.blocks:
            h = h + F.gelu(block(h))
        y = self.out(self.time(h).transpose(1, 2))
        return self.revin.denorm(y)


def build():
    return Forecaster()


def step(model):
    t = torch.arange(44).float()
    level, phase = 5 * torch.randn(8, 1, 7), torch.rand(8, 1, 7)
    series = level + torch.sin(0.4 * t[None, :, None] + phase) + 0.1 * torch.randn(8, 44, 7)
    batch_x, batch_y = series[:, :32], series[:, 32:]
    return nn.MSELoss()(model(batch_x), batch_y)


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
