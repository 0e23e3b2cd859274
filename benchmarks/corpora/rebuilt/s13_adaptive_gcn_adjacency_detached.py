import math
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/queenie88/A-GCN/issues/4'
CATEGORY = 'silent'
DESCRIPTION = 'The learned adjacency matrix is detached before it reaches the graph convolutions, so theta and phi are never trained.'


class NONLocalBlock1D(nn.Module):
    def __init__(self, in_channels, inter_channels=None):
        super().__init__()
        self.inter_channels = inter_channels or max(in_channels // 2, 1)
        self.theta = nn.Conv1d(in_channels, self.inter_channels, kernel_size=1)
        self.phi = nn.Conv1d(in_channels, self.inter_channels, kernel_size=1)

    def forward(self, x):
        batch_size = x.size(0)
        theta_x = self.theta(x).view(batch_size, self.inter_channels, -1).squeeze(2)
        phi_x = self.phi(x).view(batch_size, self.inter_channels, -1).squeeze(2).transpose(0, 1)
        f = torch.matmul(theta_x, phi_x)
        return f / f.size(-1)


class GraphConvolution(nn.Module):
    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_features, out_features))
        stdv = 1. / math.sqrt(self.weight.size(1))
        self.weight.data.uniform_(-stdv, stdv)

    def forward(self, input, adj):
        return torch.matmul(adj, torch.matmul(input, self.weight))


def gen_adj_new(A):
    D = torch.pow(A.abs().sum(1).float(), -0.5)
    D = torch.diag(D)
    return torch.matmul(torch.matmul(A, D).t(), D)


class GCNResnet(nn.Module):
    def __init__(self, num_classes=10, in_channel=12, width=16):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 2 * width, 3, 2, 1))
        self.num_classes = num_classes
        self.pooling = nn.MaxPool2d(4, 4)
        self.non_local_C1 = NONLocalBlock1D(in_channel)
        self.gc1 = GraphConvolution(in_channel, 24)
        self.gc2 = GraphConvolution(24, 2 * width)
        self.activate = nn.LeakyReLU(0.2)

    def forward(self, feature, inp):
        feature = self.pooling(self.features(feature))
        feature = feature.view(feature.size(0), -1)
        inp = inp[0]
        adj = self.non_local_C1(inp.unsqueeze(2))
        A1 = torch.eye(self.num_classes).float()
        adj = adj + A1
        adj = gen_adj_new(adj).detach()
        x = self.gc1(inp, adj)
        x = self.activate(x)
        x = self.gc2(x, adj)
        x = x.transpose(0, 1)
        return torch.matmul(feature, x), adj.unsqueeze(0), A1.unsqueeze(0)

    def get_config_optim(self, lr, lrp):
        return [{'params': self.features.parameters(), 'lr': lr * lrp},
                {'params': self.non_local_C1.parameters(), 'lr': lr},
                {'params': self.gc1.parameters(), 'lr': lr},
                {'params': self.gc2.parameters(), 'lr': lr}]


class MultiLabelEngine:
    def __init__(self, lr=0.1, lrp=0.1):
        self.lr, self.lrp = lr, lrp

    def learning(self, model, criterion, batches):
        optimizer = torch.optim.SGD(model.get_config_optim(self.lr, self.lrp), lr=self.lr, momentum=0.9)
        model.train()
        for image, inp, target in batches:
            output, adj, A = model(image, inp)
            loss = criterion(output, target)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), max_norm=10.0)
            optimizer.step()
        return loss.detach()


def build():
    return GCNResnet()


def step(model):
    words = torch.randn(10, 12).expand(4, -1, -1)
    batches = [(torch.randn(4, 3, 16, 16), words, (torch.rand(4, 10) < 0.3).float()) for _ in range(3)]
    return MultiLabelEngine().learning(model, nn.MultiLabelSoftMarginLoss(), batches)


# real fix: remove .detach()
TRUTH = dict(raises=None, at='function:detach', culprits=['function:detach'],
             dim=None, got=None, wanted=None, hint_any=['detach', 'gradient', 'grad'])
MENDED = [('adj = gen_adj_new(adj).detach()', 'adj = gen_adj_new(adj)')]
