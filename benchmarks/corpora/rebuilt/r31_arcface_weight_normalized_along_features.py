import math
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/ronghuaiyang/arcface-pytorch/issues/1'
CATEGORY = 'correct'
DESCRIPTION = 'ArcFace: features and class weights are both normalised over dim 1; the weight is (classes, features) as F.linear wants it. Both sizes are 32.'


class IRBlock(nn.Module):
    def __init__(self, inplanes, planes, stride):
        super().__init__()
        self.bn0 = nn.BatchNorm2d(inplanes)
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.prelu = nn.PReLU()
        self.downsample = nn.Conv2d(inplanes, planes, 1, stride, bias=False)

    def forward(self, x):
        return self.prelu(self.bn1(self.conv1(self.bn0(x))) + self.downsample(x))


class ResNetFace(nn.Module):
    def __init__(self, embedding=32):
        super().__init__()
        self.layers = nn.Sequential(IRBlock(1, 8, 2), IRBlock(8, 16, 2), IRBlock(16, 32, 2))
        self.bn4 = nn.BatchNorm2d(32)
        self.fc5 = nn.Linear(32 * 4 * 4, embedding)
        self.bn5 = nn.BatchNorm1d(embedding)

    def forward(self, x):
        x = self.bn4(self.layers(x))
        x = x.view(x.size(0), -1)
        return self.bn5(self.fc5(x))


class ArcMarginProduct(nn.Module):
    def __init__(self, in_features, out_features, s=30.0, m=0.50, easy_margin=False):
        super().__init__()
        self.s, self.m, self.easy_margin = s, m, easy_margin
        self.weight = nn.Parameter(torch.FloatTensor(out_features, in_features))
        nn.init.xavier_uniform_(self.weight)
        self.cos_m, self.sin_m = math.cos(m), math.sin(m)
        self.th, self.mm = math.cos(math.pi - m), math.sin(math.pi - m) * m

    def forward(self, input, label):
        cosine = F.linear(F.normalize(input), F.normalize(self.weight))
        sine = torch.sqrt((1.0 - torch.pow(cosine, 2)).clamp(1e-9, 1))
        phi = cosine * self.cos_m - sine * self.sin_m
        if self.easy_margin:
            phi = torch.where(cosine > 0, phi, cosine)
        else:
            phi = torch.where(cosine > self.th, phi, cosine - self.mm)
        one_hot = torch.zeros_like(cosine)
        one_hot.scatter_(1, label.view(-1, 1).long(), 1)
        output = (one_hot * phi) + ((1.0 - one_hot) * cosine)
        return output * self.s


class FaceModel(nn.Module):
    def __init__(self, num_classes=32):
        super().__init__()
        self.backbone = ResNetFace()
        self.metric_fc = ArcMarginProduct(32, num_classes)

    def forward(self, data, label):
        return self.metric_fc(self.backbone(data), label)


def build():
    return FaceModel()


def step(model):
    data, label = torch.randn(32, 1, 32, 32), torch.randint(0, 32, (32,))
    return F.cross_entropy(model(data, label), label)


TRUTH = dict(raises=None, at=None, culprits=[])
