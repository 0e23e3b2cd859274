from collections import OrderedDict

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/davidtvs/PyTorch-ENet/issues/35'
CATEGORY = 'loss'
DESCRIPTION = 'ENet on a data set of its own: color_encoding lists 4 classes, the masks hold labels 0..4, so the ENet weighing counts five classes; the network predicts four.'


class OwnRoads(Dataset):
    color_encoding = OrderedDict([('road', (128, 64, 128)), ('car', (64, 0, 128)), ('person', (64, 64, 0)), ('sky', (128, 128, 128))])

    def __init__(self, n=8, size=(32, 48)):
        g = torch.Generator().manual_seed(3)
        self.images = torch.rand(n, 3, *size, generator=g)
        self.labels = torch.randint(0, 5, (n, *size), generator=g)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], self.labels[i]


def enet_weighing(dataloader, num_classes, c=1.02):
    class_count, total = 0, 0
    for _, label in dataloader:
        flat_label = label.flatten()
        class_count = class_count + torch.bincount(flat_label, minlength=num_classes)
        total += flat_label.numel()
    propensity_score = class_count / total
    return 1 / (torch.log(c + propensity_score))


class InitialBlock(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.main_branch = nn.Conv2d(cin, cout - 3, 3, 2, 1, bias=False)
        self.ext_branch = nn.MaxPool2d(3, 2, 1)
        self.batch_norm = nn.BatchNorm2d(cout)
        self.out_activation = nn.PReLU()

    def forward(self, x):
        return self.out_activation(self.batch_norm(torch.cat((self.main_branch(x), self.ext_branch(x)), 1)))


class RegularBottleneck(nn.Module):
    def __init__(self, ch, dilation=1, dropout=0.1):
        super().__init__()
        inner = ch // 4
        self.ext = nn.Sequential(nn.Conv2d(ch, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.PReLU(),
                                 nn.Conv2d(inner, inner, 3, padding=dilation, dilation=dilation, bias=False), nn.BatchNorm2d(inner),
                                 nn.PReLU(), nn.Conv2d(inner, ch, 1, bias=False), nn.BatchNorm2d(ch), nn.Dropout2d(dropout))
        self.out_activation = nn.PReLU()

    def forward(self, x):
        return self.out_activation(x + self.ext(x))


class ENet(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.initial_block = InitialBlock(3, 16)
        self.regular1_1 = RegularBottleneck(16)
        self.dilated1_2 = RegularBottleneck(16, dilation=2)
        self.transposed_conv = nn.ConvTranspose2d(16, num_classes, 3, 2, 1, bias=False)

    def forward(self, x):
        size = x.shape[-2:]
        x = self.dilated1_2(self.regular1_1(self.initial_block(x)))
        return self.transposed_conv(x, output_size=size)


class Train:
    def __init__(self, model, data_loader, criterion):
        self.model, self.data_loader, self.criterion = model, data_loader, criterion

    def run_epoch(self):
        total = 0.0
        for inputs, labels in self.data_loader:
            outputs = self.model(inputs)
            total = total + self.criterion(outputs, labels)
        return total / len(self.data_loader)


def build():
    return ENet(len(OwnRoads.color_encoding))


def step(model):
    data = OwnRoads()
    loader = DataLoader(data, batch_size=4)
    class_weights = enet_weighing(loader, len(data.color_encoding))
    return Train(model, loader, nn.CrossEntropyLoss(weight=class_weights)).run_epoch()


# real fix: name the fifth class in color_encoding, so that the network and the weights count the same classes
# offending tensor: weight (5,) against 4 predicted classes
TRUTH = dict(raises='RuntimeError', at='loss:cross_entropy', culprits=['transposed_conv', 'function:bincount', 'target'], dim=1, got=4, wanted=5,
             hint_any=['weight', 'num_classes', 'out_channels'])
MENDED = [("('sky', (128, 128, 128))])", "('sky', (128, 128, 128)), ('other', (0, 0, 0))])")]
