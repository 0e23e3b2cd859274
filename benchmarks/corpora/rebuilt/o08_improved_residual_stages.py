import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/iduta/iresnet/pull/2'
CATEGORY = 'silent'
DESCRIPTION = 'iResNet for small images: every stage has a start block, middle blocks and an end block.'


def conv3x3(cin, cout, stride=1):
    return nn.Conv2d(cin, cout, 3, stride=stride, padding=1, bias=False)


class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride=1, start_block=False, end_block=False, exclude_bn0=False):
        super().__init__()
        self.start_block, self.end_block, self.exclude_bn0 = start_block, end_block, exclude_bn0
        if not start_block and not exclude_bn0:
            self.bn0 = nn.BatchNorm2d(cin)
        self.conv1 = conv3x3(cin, cout, stride)
        self.bn1 = nn.BatchNorm2d(cout)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(cout, cout)
        if start_block:
            self.bn2 = nn.BatchNorm2d(cout)
        if end_block:
            self.bn2 = nn.BatchNorm2d(cout)
        self.downsample = None
        if stride != 1 or cin != cout:
            pool = nn.MaxPool2d(3, stride=2, padding=1) if stride != 1 else nn.Identity()
            self.downsample = nn.Sequential(pool, nn.Conv2d(cin, cout, 1, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        identity = x
        if self.start_block:
            out = self.conv1(x)
        elif self.exclude_bn0:
            out = self.relu(x)
            out = self.conv1(out)
        else:
            out = self.bn0(x)
            out = self.relu(out)
            out = self.conv1(out)
        out = self.bn1(out)
        out = self.relu(out)
        out = self.conv2(out)
        if self.start_block:
            out = self.bn2(out)
        if self.downsample is not None:
            identity = self.downsample(x)
        out = out + identity
        if self.end_block:
            out = self.bn2(out)
            out = self.relu(out)
        return out


class iResNet(nn.Module):
    def __init__(self, layers=(3, 4), num_classes=10):
        super().__init__()
        self.inplanes = 16
        self.conv1 = conv3x3(3, 16)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._make_layer(16, layers[0])
        self.layer2 = self._make_layer(32, layers[1], stride=2)
        self.fc = nn.Linear(32, num_classes)

    def _make_layer(self, planes, blocks, stride=1):
        layers = [BasicBlock(self.inplanes, planes, stride, start_block=True)]
        self.inplanes = planes
        exclude_bn0 = True
        for _ in range(1, blocks - 1):
            layers.append(BasicBlock(planes, planes, exclude_bn0=exclude_bn0))
            exclude_bn0 = False
        layers.append(BasicBlock(planes, planes, end_block=True, exclude_bn0=exclude_bn0))
        return nn.Sequential(*layers)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer2(self.layer1(x))
        return self.fc(x.mean(dim=(2, 3)))


def build():
    return iResNet()


def step(model):
    return F.cross_entropy(model(torch.randn(8, 3, 16, 16)), torch.randint(0, 10, (8,)))


# relu(x) of the first middle block works in place: x and identity are changed too, so a ReLU lies on the main path.
# real fix: no inplace=True in the blocks
TRUTH = dict(raises=None, at='module:layer1.1.relu', culprits=['layer1.1.relu', 'layer2.1.relu', 'layer1.1', 'layer2.1'], dim=None, got=None,
             wanted=None, hint_any=['inplace', 'in place', 'in-place', 'identity', 'overwrit'])
MENDED = [('self.relu = nn.ReLU(inplace=True)', 'self.relu = nn.ReLU()')]
