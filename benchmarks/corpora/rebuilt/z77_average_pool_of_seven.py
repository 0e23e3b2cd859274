import torch
import torch.nn as nn
from torch.utils.data import Dataset, DataLoader

SOURCE = 'https://github.com/pytorch/vision/issues/633'
CATEGORY = 'layer'
DESCRIPTION = 'ResNet with the hard-coded AvgPool2d(7, stride=1) on images of 3x244x244: the last maps are 8x8, the pooling leaves 2x2, fc was sized for 1x1.'


def conv3x3(in_planes, out_planes, stride=1):
    return nn.Conv2d(in_planes, out_planes, kernel_size=3, stride=stride, padding=1, bias=False)


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inplanes, planes, stride=1, downsample=None):
        super(BasicBlock, self).__init__()
        self.conv1 = conv3x3(inplanes, planes, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x):
        residual = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            residual = self.downsample(x)
        out += residual
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self, block, layers, num_classes=1000, width=8):
        self.inplanes = width
        super(ResNet, self).__init__()
        self.conv1 = nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = self._make_layer(block, width, layers[0])
        self.layer2 = self._make_layer(block, width * 2, layers[1], stride=2)
        self.layer3 = self._make_layer(block, width * 4, layers[2], stride=2)
        self.layer4 = self._make_layer(block, width * 8, layers[3], stride=2)
        self.avgpool = nn.AvgPool2d(7, stride=1)
        self.fc = nn.Linear(width * 8 * block.expansion, num_classes)

    def _make_layer(self, block, planes, blocks, stride=1):
        downsample = None
        if stride != 1 or self.inplanes != planes * block.expansion:
            downsample = nn.Sequential(
                nn.Conv2d(self.inplanes, planes * block.expansion, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(planes * block.expansion))
        layers = [block(self.inplanes, planes, stride, downsample)]
        self.inplanes = planes * block.expansion
        for i in range(1, blocks):
            layers.append(block(self.inplanes, planes))
        return nn.Sequential(*layers)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer1(x)
        x = self.layer2(x)
        x = self.layer3(x)
        x = self.layer4(x)
        x = self.avgpool(x)
        x = x.view(x.size(0), -1)
        return self.fc(x)


class MyDataset(Dataset):
    def __init__(self, n):
        self.data = torch.rand(n, 3, 244, 244)
        self.target = torch.randint(0, 1000, (n,))

    def __getitem__(self, index):
        return self.data[index], self.target[index]

    def __len__(self):
        return len(self.data)


def build():
    torch.manual_seed(0)
    return ResNet(BasicBlock, [1, 1, 1, 1])


def step(model):
    model.train()
    criterion = nn.CrossEntropyLoss()
    for inputs, labels in DataLoader(MyDataset(4), batch_size=4, shuffle=True):
        outputs = model(inputs)
        loss = criterion(outputs, labels)
    return loss


# real fix: nn.AdaptiveAvgPool2d(1) (or images of 224)
# offending tensor: (4, 256) of (4, 64, 2, 2)
TRUTH = dict(raises='RuntimeError', at='module:fc', culprits=['avgpool', 'input'], dim=1, got=256, wanted=64,
             hint_any=['adaptive', '224', 'pool', '2x2', '(4, 64, 2, 2)'])
MENDED = [('nn.AvgPool2d(7, stride=1)', 'nn.AdaptiveAvgPool2d(1)')]
