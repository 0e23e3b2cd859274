import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/qijiezhao/pseudo-3d-pytorch/issues/28'
CATEGORY = 'loss'
DESCRIPTION = 'Pseudo-3D residual network for action recognition, trained on clips of twice the usual length.'


class Clips(Dataset):
    def __init__(self, n=8, length=32, size=64, num_classes=8):
        self.frames = [torch.randn(length + 8, 3, size, size) for _ in range(n)]
        self.labels = torch.randint(0, num_classes, (n,)).tolist()
        self.length = length

    def __len__(self):
        return len(self.frames)

    def __getitem__(self, i):
        start = int(torch.randint(0, 8, ()))
        return self.frames[i][start:start + self.length].transpose(0, 1), self.labels[i]


def conv_S(in_planes, out_planes, stride=1, padding=1):
    return nn.Conv3d(in_planes, out_planes, (1, 3, 3), stride, (0, padding, padding), bias=False)


def conv_T(in_planes, out_planes, stride=1, padding=1):
    return nn.Conv3d(in_planes, out_planes, (3, 1, 1), stride, (padding, 0, 0), bias=False)


class Bottleneck(nn.Module):
    def __init__(self, inplanes, planes, spatial_stride=1, ST_struc='A', is_3d=True):
        super().__init__()
        self.ST, self.is_3d = ST_struc, is_3d
        if is_3d:
            stride = (1, spatial_stride, spatial_stride)
            self.conv1 = nn.Conv3d(inplanes, planes // 2, 1, stride, bias=False)
            self.conv2 = conv_S(planes // 2, planes // 2)
            self.conv3 = conv_T(planes // 2, planes // 2)
            self.conv4 = nn.Conv3d(planes // 2, planes, 1, bias=False)
            self.bn, self.downsample = nn.BatchNorm3d(planes), nn.Conv3d(inplanes, planes, 1, stride, bias=False)
        else:
            self.conv1 = nn.Conv2d(inplanes, planes // 2, 1, spatial_stride, bias=False)
            self.conv2 = nn.Conv2d(planes // 2, planes // 2, 3, padding=1, bias=False)
            self.conv4 = nn.Conv2d(planes // 2, planes, 1, bias=False)
            self.bn, self.downsample = nn.BatchNorm2d(planes), nn.Conv2d(inplanes, planes, 1, spatial_stride, bias=False)

    def forward(self, x):
        residual = self.downsample(x)
        out = F.relu(self.conv1(x))
        if not self.is_3d:
            out = F.relu(self.conv2(out))
        elif self.ST == 'A':
            out = F.relu(self.conv3(F.relu(self.conv2(out))))
        elif self.ST == 'B':
            out = F.relu(self.conv2(out)) + F.relu(self.conv3(out))
        else:
            spatial = F.relu(self.conv2(out))
            out = spatial + F.relu(self.conv3(spatial))
        return F.relu(self.bn(self.conv4(out)) + residual)


class P3D(nn.Module):
    def __init__(self, layers=(1, 2, 2, 1), num_classes=8, ST_struc=('A', 'B', 'C'), dropout=0.5):
        super().__init__()
        self.ST_struc, self.cnt = ST_struc, 0
        self.conv1_custom = nn.Conv3d(3, 8, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False)
        self.bn1 = nn.BatchNorm3d(8)
        self.maxpool = nn.MaxPool3d((2, 3, 3), 2, (0, 1, 1))
        self.maxpool_2 = nn.MaxPool3d((2, 1, 1), (2, 1, 1))
        self.layer1 = self._make_layer(8, 16, layers[0], 1)
        self.layer2 = self._make_layer(16, 24, layers[1], 2)
        self.layer3 = self._make_layer(24, 32, layers[2], 2)
        self.layer4 = self._make_layer(32, 48, layers[3], 2, is_3d=False)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(48, num_classes)

    def _make_layer(self, inplanes, planes, blocks, stride, is_3d=True):
        layers = []
        for i in range(blocks):
            layers.append(Bottleneck(inplanes if i == 0 else planes, planes, stride if i == 0 else 1, self.ST_struc[self.cnt % 3], is_3d))
            self.cnt += 1
        return nn.Sequential(*layers)

    def forward(self, x):
        x = self.maxpool(F.relu(self.bn1(self.conv1_custom(x))))
        x = self.maxpool_2(self.layer1(x))
        x = self.maxpool_2(self.layer2(x))
        x = self.maxpool_2(self.layer3(x))
        sizes = x.size()
        x = x.view(-1, sizes[1], sizes[3], sizes[4])
        x = self.avgpool(self.layer4(x))
        x = x.view(-1, self.fc.in_features)
        return self.fc(self.dropout(x))


def build():
    return P3D()


def step(model):
    clips, labels = next(iter(DataLoader(Clips(length=32), batch_size=4)))
    return nn.CrossEntropyLoss()(model(clips), labels)


# real cause: 32 frames leave two time steps before layer4, and the view makes samples of them (for 16 frames there is one)
# offending tensor: the scores (8, 8) against 4 labels
TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['function:view', 'input'], dim=0, got=8, wanted=4,
             hint_any=['view', 'time', 'frame', 'batch', 'twice', 'flatten(1)'])
MENDED = [('x = x.view(-1, sizes[1], sizes[3], sizes[4])', 'x = x.mean(dim=2)')]
