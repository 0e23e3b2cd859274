import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/r9y9/wavenet_vocoder/issues/34'
CATEGORY = 'silent'
DESCRIPTION = 'The log probabilities are summed over the mixtures before the weights of the mixtures are added.'


def log_sum_exp(x):
    axis = len(x.size()) - 1
    m, _ = torch.max(x, dim=axis)
    m2, _ = torch.max(x, dim=axis, keepdim=True)
    return m + torch.log(torch.sum(torch.exp(x - m2), dim=axis))


def discretized_mix_logistic_loss(y_hat, y, num_classes=256, log_scale_min=-7.0):
    assert y_hat.size(1) % 3 == 0
    nr_mix = y_hat.size(1) // 3
    y_hat = y_hat.transpose(1, 2)
    logit_probs = y_hat[:, :, :nr_mix]
    means = y_hat[:, :, nr_mix:2 * nr_mix]
    log_scales = torch.clamp(y_hat[:, :, 2 * nr_mix:3 * nr_mix], min=log_scale_min)
    y = y.expand_as(means)
    centered_y = y - means
    inv_stdv = torch.exp(-log_scales)
    plus_in = inv_stdv * (centered_y + 1. / (num_classes - 1))
    min_in = inv_stdv * (centered_y - 1. / (num_classes - 1))
    cdf_delta = torch.sigmoid(plus_in) - torch.sigmoid(min_in)
    log_probs = torch.log(torch.clamp(cdf_delta, min=1e-12))
    log_probs = torch.sum(log_probs, dim=-1, keepdim=True) + F.log_softmax(logit_probs, -1)
    return -torch.sum(log_sum_exp(log_probs)) / y.numel()


class WaveNet(nn.Module):
    def __init__(self, channels=16, nr_mix=10, layers=3):
        super().__init__()
        self.first_conv = nn.Conv1d(1, channels, 1)
        self.convs = nn.ModuleList([nn.Conv1d(channels, 2 * channels, 2, dilation=2 ** i, padding=2 ** i) for i in range(layers)])
        self.last_conv = nn.Conv1d(channels, 3 * nr_mix, 1)

    def forward(self, x):
        x = self.first_conv(x)
        for conv in self.convs:
            a, b = conv(x)[..., :x.shape[-1]].chunk(2, dim=1)
            x = x + torch.tanh(a) * torch.sigmoid(b)
        return self.last_conv(x)


def build():
    torch.manual_seed(0)
    return WaveNet()


def step(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    x = torch.rand(4, 1, 50) * 2 - 1
    y_hat = model(x)
    loss = discretized_mix_logistic_loss(y_hat[:, :, :-1], x[:, :, 1:].transpose(1, 2))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at='function:sum', culprits=['function:sum', 'function:add'], dim=None, got=None, wanted=None, hint_any=['sum'])
MENDED = [('torch.sum(log_probs, dim=-1, keepdim=True) + F', 'log_probs + F')]
