import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/yangze0930/NTS-Net/issues/14'
CATEGORY = 'silent'
DESCRIPTION = 'Fine-grained recognition of birds: a backbone gives logits, feature map and feature vector, a navigator proposes parts; test after a training step.'


class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or cin != cout:
            self.downsample = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        residual = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(out)) + residual)


class ResNet(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = BasicBlock(16, 16)
        self.layer2 = BasicBlock(16, 32, stride=2)
        self.layer3 = BasicBlock(32, 64, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        feature1 = x
        x = self.avgpool(x)
        x = x.view(x.size(0), -1)
        x = nn.Dropout(p=0.5)(x)
        feature2 = x
        x = self.fc(x)
        return x, feature1, feature2


class AttentionNet(nn.Module):
    def __init__(self, num_classes=20, top_n=2):
        super().__init__()
        self.top_n = top_n
        self.pretrained_model = ResNet(num_classes)
        self.proposal_net = nn.Sequential(nn.Conv2d(64, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, 1, 1))
        self.concat_net = nn.Linear(64 * (top_n + 1), num_classes)

    def forward(self, x):
        resnet_out, rpn_feature, feature = self.pretrained_model(x)
        scores = self.proposal_net(rpn_feature.detach()).flatten(1)
        top, index = scores.topk(self.top_n, dim=1)
        parts = rpn_feature.flatten(2).gather(2, index.unsqueeze(1).expand(-1, 64, -1))
        parts = parts * top.sigmoid().unsqueeze(1)
        concat_out = torch.cat([parts.transpose(1, 2).flatten(1), feature], dim=1)
        return resnet_out, self.concat_net(concat_out)


def train_epoch(net, loader, lr=0.001):
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, weight_decay=1e-4)
    for img, label in loader:
        optimizer.zero_grad()
        raw_logits, concat_logits = net(img)
        loss = F.cross_entropy(raw_logits, label) + F.cross_entropy(concat_logits, label)
        loss.backward()
        optimizer.step()


def test_epoch(net, loader):
    net.eval()
    total = 0
    with torch.no_grad():
        for img, label in loader:
            _, concat_logits = net(img)
            total = total + F.cross_entropy(concat_logits, label)
    return total / len(loader)


def build():
    return AttentionNet()


def step(model):
    train_loader = [(torch.randn(6, 3, 32, 32), torch.randint(0, 20, (6,))) for _ in range(2)]
    test_loader = [(torch.randn(6, 3, 32, 32), torch.randint(0, 20, (6,)))]
    train_epoch(model, train_loader)
    return test_epoch(model, test_loader)


# nn.Dropout is made anew in forward, it is no submodule and always in training mode: features are dropped in the test too.
# real fix: a self.drop in __init__, or F.dropout(x, 0.5, training=self.training)
TRUTH = dict(raises=None, at='function:dropout', culprits=['function:dropout', 'pretrained_model'], dim=None, got=None, wanted=None,
             hint_any=['dropout', 'eval', 'training', '__init__', 'regist'])
MENDED = [('x = nn.Dropout(p=0.5)(x)', 'x = F.dropout(x, p=0.5, training=self.training)')]
