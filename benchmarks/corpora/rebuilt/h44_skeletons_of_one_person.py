import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/lshiwjx/2s-AGCN/issues/19'
CATEGORY = 'layer'
DESCRIPTION = 'Skeleton action recognition: model_args say num_person 1, the generated data still hold two bodies; data_bn counts persons * channels * joints.'

EDGES = [(4, 3), (3, 2), (7, 6), (6, 5), (13, 12), (12, 11), (10, 9), (9, 8), (11, 5), (8, 2), (5, 1), (2, 1), (0, 1), (15, 0), (14, 0), (17, 15), (16, 14)]

config = dict(
    feeder_args=dict(num_joint=18, max_frame=40, max_body=2),
    model_args=dict(num_class=60, num_point=18, num_person=1, in_channels=3),
)


def graph(num_node):
    A = torch.zeros(3, num_node, num_node)
    A[0] = torch.eye(num_node)
    for i, j in EDGES:
        A[1, j, i] = 1
        A[2, i, j] = 1
    return A / A.sum(1, keepdim=True).clamp(min=1)


class unit_gcn(nn.Module):
    def __init__(self, in_channels, out_channels, A):
        super().__init__()
        self.PA = nn.Parameter(torch.zeros_like(A))
        self.register_buffer('A', A)
        self.conv_d = nn.ModuleList([nn.Conv2d(in_channels, out_channels, 1) for _ in range(A.size(0))])
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x):
        N, C, T, V = x.size()
        A = self.A + self.PA
        y = None
        for i, conv in enumerate(self.conv_d):
            z = conv(torch.matmul(x.view(N, C * T, V), A[i]).view(N, C, T, V))
            y = z if y is None else y + z
        return torch.relu(self.bn(y))


class TCN_GCN_unit(nn.Module):
    def __init__(self, in_channels, out_channels, A, stride=1):
        super().__init__()
        self.gcn1 = unit_gcn(in_channels, out_channels, A)
        self.tcn1 = nn.Sequential(nn.Conv2d(out_channels, out_channels, (9, 1), (stride, 1), (4, 0)), nn.BatchNorm2d(out_channels))

    def forward(self, x):
        return torch.relu(self.tcn1(self.gcn1(x)))


class Model(nn.Module):
    def __init__(self, num_class=60, num_point=25, num_person=2, in_channels=3):
        super().__init__()
        A = graph(num_point)
        self.data_bn = nn.BatchNorm1d(num_person * in_channels * num_point)
        self.l1 = TCN_GCN_unit(in_channels, 16, A)
        self.l2 = TCN_GCN_unit(16, 32, A, stride=2)
        self.fc = nn.Linear(32, num_class)

    def forward(self, x):
        N, C, T, V, M = x.size()
        x = x.permute(0, 4, 3, 1, 2).contiguous().view(N, M * V * C, T)
        x = self.data_bn(x)
        x = x.view(N, M, V, C, T).permute(0, 1, 3, 4, 2).contiguous().view(N * M, C, T, V)
        x = self.l2(self.l1(x))
        c_new = x.size(1)
        x = x.view(N, M, c_new, -1).mean(3).mean(1)
        return self.fc(x)


class Feeder(Dataset):
    def __init__(self, num_joint, max_frame, max_body, samples=8):
        self.data = torch.randn(samples, 3, max_frame, num_joint, max_body)
        self.label = torch.randint(0, 60, (samples,))

    def __len__(self):
        return len(self.label)

    def __getitem__(self, index):
        return self.data[index], self.label[index], index


def build():
    return Model(**config['model_args'])


def step(model):
    data, label, index = next(iter(DataLoader(Feeder(**config['feeder_args']), batch_size=4)))
    return nn.CrossEntropyLoss()(model(data), label)


TRUTH = dict(raises='RuntimeError', at='module:data_bn', culprits=['data_bn', 'input'], dim=1, got=108, wanted=54,
             hint_any=['num_person', '108', '54', 'person', 'num_features'])
MENDED = [('max_body=2', 'max_body=1')]
