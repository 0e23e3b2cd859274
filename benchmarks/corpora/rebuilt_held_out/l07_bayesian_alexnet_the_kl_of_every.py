import math
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/kumar-shridhar/PyTorch-BayesianCNN/issues/14'
CATEGORY = 'layer'
DESCRIPTION = 'Bayesian AlexNet: the KL of every layer comes back with the shape of the weights, the network adds the layers up.'


class Normal:
    def __init__(self, mu, logvar):
        self.mu = mu
        self.logvar = logvar

    def logpdf(self, x):
        c = -0.5 * math.log(2 * math.pi)
        return c - 0.5 * self.logvar - (x - self.mu).pow(2) / (2 * torch.exp(self.logvar))

    def sample(self):
        return self.mu + torch.exp(0.5 * self.logvar) * torch.randn_like(self.mu)


class FlattenLayer(nn.Module):
    def __init__(self, num_features):
        super().__init__()
        self.num_features = num_features

    def forward(self, x):
        return x.view(-1, self.num_features)


class _BBBLayer(nn.Module):
    def __init__(self, shape, p_logvar_init=0.05, q_logvar_init=0.05):
        super().__init__()
        fan = math.prod(shape[1:])
        self.mu_weight = nn.Parameter(torch.empty(shape).uniform_(-fan ** -0.5, fan ** -0.5))
        self.logvar_weight = nn.Parameter(torch.full(shape, math.log(q_logvar_init) - 4))
        self.register_buffer('p_logvar', torch.tensor(math.log(p_logvar_init)))

    def sample_weight(self):
        q = Normal(self.mu_weight, self.logvar_weight)
        w = q.sample()
        p = Normal(torch.zeros_like(w), self.p_logvar)
        _kl = q.logpdf(w) - p.logpdf(w)
        return w, _kl


class BBBConv2d(_BBBLayer):
    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0):
        super().__init__((out_channels, in_channels, kernel_size, kernel_size))
        self.stride, self.padding = stride, padding

    def convprobforward(self, x):
        w, kl = self.sample_weight()
        return F.conv2d(x, w, None, self.stride, self.padding), kl


class BBBLinearFactorial(_BBBLayer):
    def __init__(self, in_features, out_features):
        super().__init__((out_features, in_features))

    def fcprobforward(self, x):
        w, kl = self.sample_weight()
        return F.linear(x, w), kl


class BBBAlexNet(nn.Module):
    def __init__(self, outputs, inputs):
        super().__init__()
        self.conv1 = BBBConv2d(inputs, 16, kernel_size=11, stride=4, padding=5)
        self.soft1 = nn.Softplus()
        self.pool1 = nn.MaxPool2d(kernel_size=2, stride=2)
        self.conv2 = BBBConv2d(16, 32, kernel_size=5, padding=2)
        self.soft2 = nn.Softplus()
        self.pool2 = nn.MaxPool2d(kernel_size=2, stride=2)
        self.conv3 = BBBConv2d(32, 32, kernel_size=3, padding=1)
        self.soft3 = nn.Softplus()
        self.pool3 = nn.MaxPool2d(kernel_size=2, stride=2)
        self.flatten = FlattenLayer(1 * 1 * 32)
        self.fc1 = BBBLinearFactorial(32, outputs)
        self.layers = [self.conv1, self.soft1, self.pool1, self.conv2, self.soft2, self.pool2,
                       self.conv3, self.soft3, self.pool3, self.flatten, self.fc1]

    def probforward(self, x):
        kl = 0
        for layer in self.layers:
            if hasattr(layer, 'convprobforward') and callable(layer.convprobforward):
                x, _kl = layer.convprobforward(x)
                kl += _kl
            elif hasattr(layer, 'fcprobforward') and callable(layer.fcprobforward):
                x, _kl = layer.fcprobforward(x)
                kl += _kl
            else:
                x = layer(x)
        return x, kl


class GaussianVariationalInference(nn.Module):
    def forward(self, logits, y, kl, beta):
        return F.cross_entropy(logits, y) + beta * kl


def build():
    torch.manual_seed(0)
    return BBBAlexNet(outputs=10, inputs=3)


def step(model):
    torch.manual_seed(1)
    x, y = torch.randn(16, 3, 32, 32), torch.randint(0, 10, (16,))
    outputs, kl = model.probforward(x)
    return GaussianVariationalInference()(outputs, y, kl, beta=1 / 600)


# report: summing _kl; either in the layer (the difference of the log densities) or where the layers are added up
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['function:sub', 'function:add'], dim=None, got=None, wanted=None,
             hint_any=['sum', 'scalar', 'reduce', '11'])
MENDED = [('_kl = q.logpdf(w) - p.logpdf(w)', '_kl = (q.logpdf(w) - p.logpdf(w)).sum()')]
