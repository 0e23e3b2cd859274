import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/yinboc/prototypical-network-pytorch/issues/10'
CATEGORY = 'loss'
DESCRIPTION = 'Episodes of 5 shots and 15 queries from a data set with 6 images a class: 5 queries are left, the labels are made for 75.'

ARGS = dict(shot=5, query=15, train_way=5, batches=1, temperature=64)


class CustomDataset(Dataset):
    def __init__(self, classes=17, per_class=6):
        self.label = [c for c in range(classes) for _ in range(per_class)]
        self.data = torch.rand(len(self.label), 3, 32, 32)

    def __len__(self):
        return len(self.label)

    def __getitem__(self, i):
        return self.data[i], self.label[i]


class CategoriesSampler:
    def __init__(self, label, n_batch, n_cls, n_per):
        self.n_batch, self.n_cls, self.n_per = n_batch, n_cls, n_per
        label = torch.tensor(label)
        self.m_ind = [torch.nonzero(label == i).reshape(-1) for i in range(int(label.max()) + 1)]

    def __len__(self):
        return self.n_batch

    def __iter__(self):
        for _ in range(self.n_batch):
            batch = []
            for c in torch.randperm(len(self.m_ind))[:self.n_cls]:
                l = self.m_ind[c]
                pos = torch.randperm(len(l))[:self.n_per]
                batch.append(l[pos])
            yield torch.stack(batch).t().reshape(-1)


def conv_block(in_channels, out_channels):
    bn = nn.BatchNorm2d(out_channels)
    nn.init.uniform_(bn.weight)
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, padding=1), bn, nn.ReLU(), nn.MaxPool2d(2))


class Convnet(nn.Module):
    def __init__(self, x_dim=3, hid_dim=16, z_dim=16):
        super().__init__()
        self.encoder = nn.Sequential(conv_block(x_dim, hid_dim), conv_block(hid_dim, hid_dim), conv_block(hid_dim, hid_dim), conv_block(hid_dim, z_dim))
        self.out_channels = 16

    def forward(self, x):
        x = self.encoder(x)
        return x.view(x.size(0), -1)


def euclidean_metric(a, b):
    n, m = a.shape[0], b.shape[0]
    a = a.unsqueeze(1).expand(n, m, -1)
    b = b.unsqueeze(0).expand(n, m, -1)
    return -((a - b) ** 2).sum(dim=2)


def build():
    return Convnet()


def step(model):
    args = ARGS
    trainset = CustomDataset()
    sampler = CategoriesSampler(trainset.label, args['batches'], args['train_way'], args['shot'] + args['query'])
    loader = DataLoader(trainset, batch_sampler=sampler)
    total = 0.
    for data, _ in loader:
        p = args['shot'] * args['train_way']
        data_shot, data_query = data[:p], data[p:]
        proto = model(data_shot)
        proto = proto.reshape(args['shot'], args['train_way'], -1).mean(dim=0)
        label = torch.arange(args['train_way']).repeat(args['query'])
        logits = euclidean_metric(model(data_query), proto) / args['temperature']
        total = total + F.cross_entropy(logits, label)
    return total / len(loader)


# real fix: shot + query may not exceed the images a class has, e.g. query=1
# offending tensor: data_query (5, 3, 32, 32), label (75,)
TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['input', 'target', 'function:getitem', 'function:repeat'], dim=0, got=75, wanted=5,
             hint_any=['batch', 'repeat', '75', 'query', 'rows'])
MENDED = [('query=15', 'query=1')]
