import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/cvqluu/Angular-Penalty-Softmax-Losses-Pytorch/issues/3'
CATEGORY = 'silent'
DESCRIPTION = 'CosFace: "for W in fc.parameters(): W = F.normalize(W)" only rebinds a local name, the class weights stay unnormalised and wf is no cosine.'


class ConvBaseline(nn.Module):
    def __init__(self, embed_dim):
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2))
        self.layer2 = nn.Sequential(nn.Conv2d(16, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2))
        self.fc_projection = nn.Linear(32 * 6 * 6, embed_dim)

    def forward(self, x):
        out = self.layer2(self.layer1(x))
        return self.fc_projection(out.view(out.size(0), -1))


class AngularPenaltySMLoss(nn.Module):
    def __init__(self, in_features, out_features, loss_type='cosface', eps=1e-7, s=None, m=None):
        super().__init__()
        loss_type = loss_type.lower()
        assert loss_type in ['arcface', 'sphereface', 'cosface']
        self.s = s or (30.0 if loss_type == 'cosface' else 64.0)
        self.m = m or dict(arcface=0.5, sphereface=1.35, cosface=0.4)[loss_type]
        self.loss_type = loss_type
        self.out_features = out_features
        self.fc = nn.Linear(in_features, out_features, bias=False)
        self.eps = eps

    def forward(self, x, labels):
        assert len(x) == len(labels)
        assert torch.min(labels) >= 0 and torch.max(labels) < self.out_features

        for W in self.fc.parameters():
            W = F.normalize(W, p=2, dim=1)

        x = F.normalize(x, p=2, dim=1)
        wf = self.fc(x)
        target = torch.diagonal(wf.transpose(0, 1)[labels])
        if self.loss_type == 'cosface':
            numerator = self.s * (target - self.m)
        else:
            angle = torch.acos(torch.clamp(target, -1. + self.eps, 1 - self.eps))
            numerator = self.s * torch.cos(angle + self.m if self.loss_type == 'arcface' else angle * self.m)
        excl = torch.cat([torch.cat((wf[i, :y], wf[i, y + 1:])).unsqueeze(0) for i, y in enumerate(labels)], dim=0)
        denominator = torch.exp(numerator) + torch.sum(torch.exp(self.s * excl), dim=1)
        L = numerator - torch.log(denominator)
        return -torch.mean(L)


class ConvAngularPen(nn.Module):
    def __init__(self, num_classes=10, embed_dim=16, loss_type='cosface'):
        super().__init__()
        self.convlayers = ConvBaseline(embed_dim)
        self.adms_loss = AngularPenaltySMLoss(embed_dim, num_classes, loss_type=loss_type)

    def forward(self, x, labels=None, embed=False):
        x = self.convlayers(x)
        if embed:
            return x
        return self.adms_loss(x, labels)


def build():
    return ConvAngularPen()


def step(model):
    feats, labels = torch.rand(16, 1, 28, 28), torch.arange(16) % 10
    return model(feats, labels=labels)


# real fix: W.data = F.normalize(W.data, p=2, dim=1), or F.linear(x, F.normalize(self.fc.weight))
TRUTH = dict(raises=None, at='function:normalize', culprits=['function:normalize', 'adms_loss.fc'], dim=None, got=None, wanted=None,
             hint_any=['unused', 'never', 'no effect', 'not used', 'discard', 'cosine', 'weight'])
MENDED = [('            W = F.normalize(W, p=2, dim=1)', '            W.data = F.normalize(W.data, p=2, dim=1)')]
