import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/HobbitLong/SupContrast/issues/10'
CATEGORY = 'silent'
DESCRIPTION = 'Supervised contrastive learning: two views of each image, projections as (batch, views, features) into the loss.'


class SupConNet(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, dim))

    def forward(self, x):
        return self.head(self.encoder(x))


class SupConLoss(nn.Module):
    def __init__(self, temperature=0.5):
        super().__init__()
        self.temperature = temperature

    def forward(self, features, labels):
        b, views = features.shape[:2]
        mask = torch.eq(labels.view(-1, 1), labels.view(1, -1)).float().repeat(views, views)
        contrast = torch.cat(torch.unbind(features, dim=1), dim=0)
        logits = contrast @ contrast.T / self.temperature
        logits = logits - logits.max(dim=1, keepdim=True).values.detach()
        others = 1 - torch.eye(b * views)
        mask = mask * others
        log_prob = logits - torch.log((torch.exp(logits) * others).sum(1, keepdim=True) + 1e-12)
        return -((mask * log_prob).sum(1) / mask.sum(1)).mean()


def two_views(img):
    return [img.flip(-1) + 0.05 * torch.randn_like(img), img.roll(2, -1) + 0.05 * torch.randn_like(img)]


def train_batch(model, criterion, img, labels):
    bsz = labels.shape[0]
    out = model(torch.cat(two_views(img), 0))
    f1, f2 = torch.split(out, [bsz, bsz], dim=0)
    features = torch.cat([f1.unsqueeze(1), f2.unsqueeze(1)], dim=1)
    features = F.normalize(features, dim=1)
    return criterion(features, labels)


def build():
    return SupConNet()


def step(model):
    opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    loss = train_batch(model, SupConLoss(), torch.rand(20, 3, 16, 16), torch.randint(0, 5, (20,)))
    opt.zero_grad()
    loss.backward()
    opt.step()
    return (loss).detach()


# dim 1 are the views, the features are dim 2
TRUTH = dict(raises=None, at='function:normalize', culprits=['function:normalize'], dim=1, got=2, wanted=32,
             hint_any=['dim=2', 'dim=-1', 'norm', 'feature'])
MENDED = [('F.normalize(features, dim=1)', 'F.normalize(features, dim=2)')]
