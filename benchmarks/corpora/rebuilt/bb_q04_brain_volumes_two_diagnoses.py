import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/Tencent/MedicalNet/issues/79 (comments of 2022-12-20)'
CATEGORY = 'loss'
DESCRIPTION = ('A 3-D ResNet for brain volumes turned from segmentation to two classes: conv_cls gives two sigmoid numbers a volume, '
               'the label is a single 0 or 1, and the loss is BCELoss.')


class BrainS18Dataset(Dataset):
    def __init__(self, n=4, depth=16, size=24):
        g = torch.Generator().manual_seed(6)
        self.volumes = [torch.randint(0, 255, (depth, size, size), generator=g).float() for _ in range(n)]
        self.img_list = ['vol%d.nii.gz mask%d.nii.gz %d' % (i, i, i % 2) for i in range(n)]

    def __len__(self):
        return len(self.img_list)

    def __nonzero_normalize__(self, volume):
        pixels = volume[volume > 0]
        return (volume - pixels.mean()) / pixels.std()

    def __getitem__(self, idx):
        ith_info = self.img_list[idx].split(' ')
        class_array = torch.tensor([float(ith_info[2])])
        return self.__nonzero_normalize__(self.volumes[idx])[None], class_array


def conv3x3x3(in_planes, out_planes, stride=1, dilation=1):
    return nn.Conv3d(in_planes, out_planes, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)


class BasicBlock(nn.Module):
    def __init__(self, inplanes, planes, stride=1, dilation=1):
        super().__init__()
        self.conv1 = conv3x3x3(inplanes, planes, stride, dilation)
        self.bn1 = nn.BatchNorm3d(planes)
        self.conv2 = conv3x3x3(planes, planes, dilation=dilation)
        self.bn2 = nn.BatchNorm3d(planes)
        self.downsample = None
        if stride != 1 or inplanes != planes:
            self.downsample = nn.Sequential(nn.Conv3d(inplanes, planes, 1, stride=stride, bias=False), nn.BatchNorm3d(planes))

    def forward(self, x):
        residual = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + residual)


class ResNet(nn.Module):
    def __init__(self, layers, width=8, num_cls=2):
        super().__init__()
        self.conv1 = nn.Conv3d(1, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.maxpool = nn.MaxPool3d(3, stride=2, padding=1)
        self.layer1 = self._make_layer(width, width, layers[0])
        self.layer2 = self._make_layer(width, width * 2, layers[1], stride=2)
        self.layer3 = self._make_layer(width * 2, width * 4, layers[2], dilation=2)
        self.conv_cls = nn.Sequential(
            nn.AdaptiveMaxPool3d((1, 1, 1)),
            nn.Flatten(),
            nn.Linear(width * 4, num_cls),
            nn.Sigmoid())

    def _make_layer(self, inplanes, planes, blocks, stride=1, dilation=1):
        layers = [BasicBlock(inplanes, planes, stride, dilation)]
        layers += [BasicBlock(planes, planes, dilation=dilation) for _ in range(1, blocks)]
        return nn.Sequential(*layers)

    def forward(self, x):
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.conv_cls(x)


def build():
    torch.manual_seed(0)
    return ResNet([1, 1, 1], num_cls=2)


def step(model):
    torch.manual_seed(1)
    loader = DataLoader(BrainS18Dataset(), batch_size=1, shuffle=True)
    loss_seg = nn.BCELoss()
    loss_value = 0.0
    for volumes, class_array in loader:
        out_masks = model(volumes)
        loss_value = loss_value + loss_seg(out_masks, class_array)
    return loss_value / len(loader)


# real fix: CrossEntropyLoss on the two numbers (without Sigmoid) and the class as an integer index
# offending tensors: out_masks (1, 2), class_array (1, 1)
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy', culprits=['target', 'conv_cls.2'], dim=1, got=1, wanted=2, hint_any=['2', 'cross_entropy', 'crossentropy', 'one_hot', 'class'])
MENDED = [('loss_seg = nn.BCELoss()', 'loss_seg = nn.CrossEntropyLoss()'), ('torch.tensor([float(ith_info[2])])', 'int(ith_info[2])'),
          ('nn.Linear(width * 4, num_cls),\n            nn.Sigmoid())', 'nn.Linear(width * 4, num_cls))')]
