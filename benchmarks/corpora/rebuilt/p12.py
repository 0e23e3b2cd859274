import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/clovaai/voxceleb_trainer/issues/156'
CATEGORY = 'layer'
DESCRIPTION = 'Speaker verification: two utterances a speaker are loaded (nPerSpeaker=2, for metric losses), AAM-softmax takes one vector a label.'

args = dict(nOut=32, nClasses=60, nPerSpeaker=2, batch_size=20, n_mels=24, frames=60, margin=0.1, scale=30, trainfunc='aamsoftmax')


class SEBlock(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU())
        self.se = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(o, o // 4, 1), nn.ReLU(), nn.Conv2d(o // 4, o, 1), nn.Sigmoid())

    def forward(self, x):
        x = self.conv(x)
        return x * self.se(x)


class ResNetSE(nn.Module):
    def __init__(self, nOut, n_mels):
        super().__init__()
        self.instancenorm = nn.InstanceNorm1d(n_mels)
        self.layers = nn.Sequential(SEBlock(1, 8, 1), SEBlock(8, 16, 2), SEBlock(16, 16, 2))
        dim = 16 * (n_mels // 4)
        self.sap_linear, self.attention = nn.Linear(dim, dim), nn.Parameter(torch.randn(dim, 1) * 0.1)
        self.fc = nn.Linear(dim, nOut)

    def forward(self, x):
        x = self.layers(self.instancenorm(torch.log(x + 1e-6)).unsqueeze(1))
        x = x.flatten(1, 2).transpose(1, 2)
        w = F.softmax(torch.tanh(self.sap_linear(x)) @ self.attention, dim=1)
        return self.fc((x * w).sum(1))


class AAMSoftmax(nn.Module):
    def __init__(self, nOut, nClasses, margin, scale):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(nClasses, nOut) * 0.1)
        self.m, self.s = torch.tensor(margin), scale
        self.ce = nn.CrossEntropyLoss()

    def forward(self, x, label):
        cosine = F.linear(F.normalize(x, dim=-1), F.normalize(self.weight))
        sine = torch.sqrt((1.0 - cosine * cosine).clamp(1e-6, 1))
        phi = cosine * torch.cos(self.m) - sine * torch.sin(self.m)
        one_hot = torch.zeros_like(cosine)
        one_hot.scatter_(1, label.view(-1, 1), 1)
        output = (one_hot * phi + (1.0 - one_hot) * cosine) * self.s
        return self.ce(output, label)


class SpeakerNet(nn.Module):
    def __init__(self, nOut, nClasses, nPerSpeaker, n_mels, margin, scale, **_):
        super().__init__()
        self.nPerSpeaker = nPerSpeaker
        self.__S__ = ResNetSE(nOut, n_mels)
        self.__L__ = AAMSoftmax(nOut, nClasses, margin, scale)

    def forward(self, data, label):
        data = data.reshape(-1, *data.shape[-2:])
        outp = self.__S__(data)
        outp = outp.reshape(self.nPerSpeaker, -1, outp.size(-1)).transpose(1, 0).squeeze(1)
        return self.__L__(outp, label)


def build():
    return SpeakerNet(**args)


def step(model):
    a = args
    label = torch.randperm(a['nClasses'])[:a['batch_size']]
    data = torch.rand(a['nPerSpeaker'], a['batch_size'], a['n_mels'], a['frames'])
    return model(data, label)


# real fix: nPerSpeaker=1 for the classification losses
# offending tensor: x (20, 2, 32), (20, 32) expected
TRUTH = dict(raises='RuntimeError', at='function:scatter', culprits=['', 'function:transpose', 'function:reshape', 'input', 'function:squeeze'], dim=1, got=2, wanted=None,
             hint_any=['reshape', 'squeeze', 'dimension', 'perspeaker', '2'])
MENDED = [("nPerSpeaker=2, batch", "nPerSpeaker=1, batch")]
