import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/jonasgrebe/pt-femb-face-embeddings/issues/3'
CATEGORY = 'silent'
DESCRIPTION = 'The header puts a new nn.Parameter in linear.weight at every forward: the optimizer keeps the old one, class centres are never trained.'


class ConvBlock(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, 3, 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(cout)
        self.act = nn.PReLU(cout)

    def forward(self, x):
        return self.act(self.bn(self.conv(x)))


class Backbone(nn.Module):
    def __init__(self, embed_dim=32):
        super().__init__()
        self.features = nn.Sequential(ConvBlock(3, 16), ConvBlock(16, 32), ConvBlock(32, 32))
        self.fc = nn.Linear(32 * 4 * 4, embed_dim)
        self.bn = nn.BatchNorm1d(embed_dim)

    def forward(self, x):
        return self.bn(self.fc(torch.flatten(self.features(x), 1)))


class ArcMarginHeader(nn.Module):
    """ ArcMarginHeader class"""

    def __init__(self, in_features, out_features, s, m1=1, m2=0, m3=0):
        super().__init__()
        self.s, self.m1, self.m2, self.m3 = s, m1, m2, m3
        self.linear = nn.Linear(in_features=in_features, out_features=out_features, bias=False)
        self.normalize = F.normalize
        self.epsilon = 1e-6

    def forward(self, input, label):
        self.linear.weight = torch.nn.Parameter(self.normalize(self.linear.weight))
        logits = self.linear(self.normalize(input)).clamp(-1 + self.epsilon, 1 - self.epsilon)
        theta = torch.acos(logits)
        target_logits = torch.cos(self.m1 * theta + self.m2) - self.m3
        one_hot = torch.zeros(logits.size(), device=input.device)
        one_hot.scatter_(1, label.view(-1, 1).long(), 1.0)
        output = one_hot * target_logits + (1.0 - one_hot) * logits
        return output * self.s


class FaceEmbeddingModel(nn.Module):
    def __init__(self, n_ids=20, embed_dim=32):
        super().__init__()
        self.backbone = Backbone(embed_dim)
        self.header = ArcMarginHeader(embed_dim, n_ids, s=16., m2=0.3)

    def forward(self, x, y):
        return self.header(self.backbone(x), y)


def fit(model, batches, lr=0.1):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    for i, (x, y) in enumerate(batches):
        loss = criterion(model(x, y), y)
        if i + 1 < len(batches):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return loss


def build():
    return FaceEmbeddingModel()


def step(model):
    model.train()
    return fit(model, [(torch.randn(16, 3, 32, 32), torch.randint(0, 20, (16,))) for _ in range(4)])


# real fix: F.linear(F.normalize(input), F.normalize(self.linear.weight)), the parameter is made once, in __init__
TRUTH = dict(raises=None, at='module:header.linear', culprits=['header.linear', 'header', 'function:normalize'], dim=None, got=None, wanted=None,
             hint_any=['optimizer', 'not trained', 'parameter', 'new', 'replaced', 'f.linear'])
MENDED = [('        self.linear.weight = torch.nn.Parameter(self.normalize(self.linear.weight))\n', ''),
          ('self.linear(self.normalize(input)).clamp', 'F.linear(self.normalize(input), self.normalize(self.linear.weight)).clamp')]
