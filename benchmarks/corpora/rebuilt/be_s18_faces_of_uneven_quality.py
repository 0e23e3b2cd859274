import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/liufeng2915/CFSM/issues/7'
CATEGORY = 'layer'
DESCRIPTION = 'Face recognition: the margin between identities depends on the norm of the embedding, a stand-in for the quality of the picture.'


class IResNet(nn.Module):
    def __init__(self, num_features=64):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.prelu = nn.PReLU(16)
        self.layer1 = nn.Sequential(nn.Conv2d(16, 32, 3, stride=4, padding=1, bias=False), nn.BatchNorm2d(32), nn.PReLU(32))
        self.fc = nn.Linear(32 * 14 * 14, num_features)
        self.features = nn.BatchNorm1d(num_features)

    def forward(self, x):
        x = self.prelu(self.bn1(self.conv1(x)))
        x = F.avg_pool2d(self.layer1(x), 2)
        return self.features(self.fc(torch.flatten(x, 1)))


class AdaFace(nn.Module):
    def __init__(self, m=0.4, h=0.333, s=64., t_alpha=0.01):
        super().__init__()
        self.m = m
        self.eps = 1e-3
        self.h = h
        self.s = s
        self.t_alpha = t_alpha
        self.register_buffer('batch_mean', torch.ones(1) * 20)
        self.register_buffer('batch_std', torch.ones(1) * 100)

    def forward(self, cosine, label, norms=None):
        safe_norms = torch.clip(norms, min=0.001, max=100).clone().detach()

        # update batchmean batchstd
        with torch.no_grad():
            mean = safe_norms.mean().detach()
            std = safe_norms.std().detach()
            self.batch_mean = mean * self.t_alpha + (1 - self.t_alpha) * self.batch_mean
            self.batch_std = std * self.t_alpha + (1 - self.t_alpha) * self.batch_std

        margin_scaler = (safe_norms - self.batch_mean) / (self.batch_std + self.eps)
        margin_scaler = torch.clip(margin_scaler * self.h, -1, 1)

        index = torch.where(label != -1)[0]

        # g_angular
        m_arc = torch.zeros(index.size()[0], cosine.size()[1])
        m_arc.scatter_(1, label[index, None], 1.0)
        g_angular = self.m * margin_scaler[index] * -1
        m_arc = m_arc * g_angular
        cosine = cosine.clamp(-1 + 1e-3, 1 - 1e-3).acos()
        cosine = cosine.index_add(0, index, m_arc)
        cosine = cosine.cos()

        # g_additive
        m_cos = torch.zeros(index.size()[0], cosine.size()[1])
        m_cos.scatter_(1, label[index, None], 1.0)
        g_add = self.m + (self.m * margin_scaler[index])
        cosine = cosine.index_add(0, index, -m_cos * g_add)
        return cosine * self.s


class PartialFC(nn.Module):
    def __init__(self, margin_loss, embedding_size, num_classes):
        super().__init__()
        self.margin_softmax = margin_loss
        self.weight = nn.Parameter(torch.normal(0, 0.01, (num_classes, embedding_size)))

    def forward(self, embeddings, labels):
        labels = labels.view(-1, 1)
        norms = torch.norm(embeddings, 2, -1, keepdim=True)
        logits = F.linear(F.normalize(embeddings), F.normalize(self.weight)).clamp(-1, 1)
        logits = self.margin_softmax(logits, labels, norms)
        return F.cross_entropy(logits, labels.flatten())


class Recognition(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = IResNet()
        self.module_partial_fc = PartialFC(AdaFace(), 64, 100)

    def forward(self, img, label):
        return self.module_partial_fc(self.backbone(img), label)


def build():
    torch.manual_seed(0)
    return Recognition()


def step(model):
    g = torch.Generator().manual_seed(1)
    return model(torch.rand(16, 3, 112, 112, generator=g) * 2 - 1, torch.randint(0, 100, (16,), generator=g))


# the labels come as a column, (N, 1) (the other margins take labels[index].view(-1)); label[index, None] then has three axes
TRUTH = dict(raises='RuntimeError', at='function:scatter_', culprits=['function:getitem', 'function:scatter_', 'function:view'], dim=None, got=None,
             wanted=None, hint_any=['view', 'dimension', 'unsqueeze', 'squeeze', 'getitem', 'axis'])
MENDED = [('label[index, None]', 'label[index].view(-1, 1)')]
