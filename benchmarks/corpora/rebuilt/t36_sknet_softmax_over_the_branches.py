import torch
import torch.nn as nn

SOURCE = 'https://github.com/pppLang/SKNet/issues/1'
CATEGORY = 'correct'
DESCRIPTION = 'SKNet: the (batch, branches, channels) attention vectors are normalised over dimension 1, the branches, not over the channels.'


class SKConv(nn.Module):
    def __init__(self, features, M=2, G=4, r=2, stride=1, L=8):
        super().__init__()
        d = max(features // r, L)
        self.convs = nn.ModuleList([nn.Sequential(
            nn.Conv2d(features, features, kernel_size=3 + i * 2, stride=stride, padding=1 + i, groups=G),
            nn.BatchNorm2d(features), nn.ReLU(inplace=False)) for i in range(M)])
        self.fc = nn.Linear(features, d)
        self.fcs = nn.ModuleList([nn.Linear(d, features) for _ in range(M)])
        self.softmax = nn.Softmax(dim=1)

    def forward(self, x):
        for i, conv in enumerate(self.convs):
            fea = conv(x).unsqueeze(dim=1)
            feas = fea if i == 0 else torch.cat([feas, fea], dim=1)
        fea_U = torch.sum(feas, dim=1)
        fea_s = fea_U.mean(-1).mean(-1)
        fea_z = self.fc(fea_s)
        for i, fc in enumerate(self.fcs):
            vector = fc(fea_z).unsqueeze(dim=1)
            attention_vectors = vector if i == 0 else torch.cat([attention_vectors, vector], dim=1)
        attention_vectors = self.softmax(attention_vectors)
        attention_vectors = attention_vectors.unsqueeze(-1).unsqueeze(-1)
        return (feas * attention_vectors).sum(dim=1)


class SKUnit(nn.Module):
    def __init__(self, in_features, out_features, stride=1):
        super().__init__()
        mid = out_features // 2
        self.feas = nn.Sequential(nn.Conv2d(in_features, mid, 1), nn.BatchNorm2d(mid), SKConv(mid, stride=stride),
                                  nn.BatchNorm2d(mid), nn.Conv2d(mid, out_features, 1), nn.BatchNorm2d(out_features))
        self.shortcut = nn.Sequential(nn.Conv2d(in_features, out_features, 1, stride=stride), nn.BatchNorm2d(out_features))

    def forward(self, x):
        return self.feas(x) + self.shortcut(x)


class SKNet(nn.Module):
    def __init__(self, class_num=5):
        super().__init__()
        self.basic_conv = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16))
        self.stage_1 = nn.Sequential(SKUnit(16, 32, stride=2), nn.ReLU(), SKUnit(32, 32), nn.ReLU())
        self.classifier = nn.Linear(32, class_num)

    def forward(self, x):
        fea = self.stage_1(self.basic_conv(x))
        return self.classifier(fea.mean((2, 3)))


def build():
    return SKNet()


def step(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    loss = criterion(model(torch.randn(8, 3, 16, 16)), torch.randint(0, 5, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
