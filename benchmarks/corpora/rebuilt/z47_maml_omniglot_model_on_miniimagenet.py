import re
from collections import OrderedDict

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/tristandeleu/pytorch-meta/issues/126'
CATEGORY = 'layer'
DESCRIPTION = 'The 4-conv network of an Omniglot example (1x1 left after four poolings) is trained on 84x84 miniImagenet: 5x5 are left.'


class MetaModule(nn.Module):
    def meta_named_parameters(self):
        return self.named_parameters()

    def get_subdict(self, params, key=None):
        if params is None:
            return None
        if key is None:
            return params
        expr = re.compile(r'^{0}\.(.+)'.format(re.escape(key)))
        return OrderedDict((expr.sub(r'\1', k), v) for k, v in params.items() if expr.match(k))


class MetaSequential(nn.Sequential, MetaModule):
    def forward(self, input, params=None):
        for name, module in self._modules.items():
            if isinstance(module, MetaModule):
                input = module(input, params=self.get_subdict(params, name))
            else:
                input = module(input)
        return input


class MetaConv2d(nn.Conv2d, MetaModule):
    def forward(self, input, params=None):
        params = OrderedDict(self.named_parameters()) if params is None else params
        return self._conv_forward(input, params['weight'], params['bias'])


class MetaBatchNorm2d(nn.BatchNorm2d, MetaModule):
    def forward(self, input, params=None):
        params = OrderedDict(self.named_parameters()) if params is None else params
        return F.batch_norm(input, None, None, params['weight'], params['bias'], True, self.momentum, self.eps)


class MetaLinear(nn.Linear, MetaModule):
    def forward(self, input, params=None):
        params = OrderedDict(self.named_parameters()) if params is None else params
        return F.linear(input, params['weight'], params['bias'])


def conv3x3(in_channels, out_channels):
    return MetaSequential(MetaConv2d(in_channels, out_channels, kernel_size=3, padding=1),
                          MetaBatchNorm2d(out_channels, momentum=1., track_running_stats=False), nn.ReLU(), nn.MaxPool2d(2))


class ConvolutionalNeuralNetwork(MetaModule):
    def __init__(self, in_channels, out_features, hidden_size=64):
        super().__init__()
        self.features = MetaSequential(conv3x3(in_channels, hidden_size), conv3x3(hidden_size, hidden_size),
                                       conv3x3(hidden_size, hidden_size), conv3x3(hidden_size, hidden_size))
        self.classifier = MetaLinear(hidden_size, out_features)

    def forward(self, inputs, params=None):
        features = self.features(inputs, params=self.get_subdict(params, 'features'))
        features = features.view((features.size(0), -1))
        return self.classifier(features, params=self.get_subdict(params, 'classifier'))


def gradient_update_parameters(model, loss, step_size=0.5):
    params = OrderedDict(model.meta_named_parameters())
    grads = torch.autograd.grad(loss, params.values(), create_graph=True)
    return OrderedDict((name, p - step_size * g) for (name, p), g in zip(params.items(), grads))


def miniimagenet(ways, shots, test_shots, tasks):
    def split(k):
        return torch.randn(tasks, ways * k, 3, 84, 84), torch.arange(ways).repeat_interleave(k).expand(tasks, -1)
    return {'train': split(shots), 'test': split(test_shots)}


def build():
    return ConvolutionalNeuralNetwork(3, 5, hidden_size=16)


def step(model):
    batch = miniimagenet(ways=5, shots=1, test_shots=2, tasks=2)
    outer_loss = torch.tensor(0.)
    for train_input, train_target, test_input, test_target in zip(*batch['train'], *batch['test']):
        train_logit = model(train_input)
        inner_loss = F.cross_entropy(train_logit, train_target)
        model.zero_grad()
        params = gradient_update_parameters(model, inner_loss)
        outer_loss = outer_loss + F.cross_entropy(model(test_input, params=params), test_target)
    return outer_loss / 2


# real fix: a classifier of 5 * 5 * hidden_size features
TRUTH = dict(raises='RuntimeError', at='function:linear', culprits=['classifier'], dim=1, got=400, wanted=16,
             hint_any=['400', '5 * 5', '5x5', 'in_features'])
MENDED = [('MetaLinear(hidden_size, out_features)', 'MetaLinear(5 * 5 * hidden_size, out_features)')]
