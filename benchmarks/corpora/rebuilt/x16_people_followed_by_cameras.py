import torch
from torch import nn
import torch.nn.functional as F

SOURCE = 'https://github.com/ZQPei/deep_sort_pytorch/issues/35'
CATEGORY = 'correct'
DESCRIPTION = 'Appearance features for tracking people: a small network of basic blocks learns to tell the persons apart.'


class BasicBlock(nn.Module):
    def __init__(self, c_in, c_out, is_downsample=False):
        super().__init__()
        self.is_downsample = is_downsample
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride=2 if is_downsample else 1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.relu = nn.ReLU(True)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, stride=1, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        if is_downsample:
            self.downsample = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride=2, bias=False), nn.BatchNorm2d(c_out))
        elif c_in != c_out:
            self.downsample = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride=1, bias=False), nn.BatchNorm2d(c_out))
            self.is_downsample = True

    def forward(self, x):
        y = self.conv1(x)
        y = self.bn1(y)
        y = self.relu(y)
        y = self.conv2(y)
        y = self.bn2(y)
        if self.is_downsample:
            x = self.downsample(x)
        return F.relu(x.add(y), True)


def make_layers(c_in, c_out, repeat_times, is_downsample=False):
    blocks = []
    for i in range(repeat_times):
        if i == 0:
            blocks += [BasicBlock(c_in, c_out, is_downsample=is_downsample)]
        else:
            blocks += [BasicBlock(c_out, c_out)]
    return nn.Sequential(*blocks)


class Net(nn.Module):
    def __init__(self, num_classes=10, reid=False):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 8, 3, stride=1, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
                                  nn.MaxPool2d(3, 2, padding=1))
        self.layer1 = make_layers(8, 8, 2, False)
        self.layer2 = make_layers(8, 16, 2, True)
        self.layer3 = make_layers(16, 32, 2, True)
        self.avgpool = nn.AvgPool2d((8, 4), 1)
        self.reid = reid
        self.classifier = nn.Sequential(nn.Linear(32, 24), nn.BatchNorm1d(24), nn.ReLU(inplace=True), nn.Dropout(),
                                        nn.Linear(24, num_classes))

    def forward(self, x):
        x = self.conv(x)
        x = self.layer1(x)
        x = self.layer2(x)
        x = self.layer3(x)
        x = self.avgpool(x)
        x = x.view(x.size(0), -1)
        if self.reid:
            return x.div(x.norm(p=2, dim=1, keepdim=True))
        return self.classifier(x)


def build():
    return Net()


def step(model):
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=5e-4)
    criterion = nn.CrossEntropyLoss()
    model.train()
    for _ in range(2):
        inputs, labels = torch.randn(8, 3, 64, 32), torch.randint(0, 10, (8,))
        loss = criterion(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.detach()


# the residual is there: x.add(y), rectified in place
TRUTH = dict(raises=None, culprits=[])
MENDED = []
