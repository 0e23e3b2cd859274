import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/ServiceNow/LCFCN/issues/20'
CATEGORY = 'silent'
DESCRIPTION = 'LCFCN counting network: point, image and false-positive losses computed from the blobs predicted first.'


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 12, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(12)
        self.conv2 = nn.Conv2d(12, 24, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(24)

    def forward(self, x):
        low = F.relu(self.bn1(self.conv1(x)))
        return low, F.relu(self.bn2(self.conv2(low)))


class FCN(nn.Module):
    def __init__(self, n_classes=3):
        super().__init__()
        self.n_classes = n_classes
        self.backbone = Backbone()
        self.score_high = nn.Conv2d(24, n_classes, 1)
        self.score_low = nn.Conv2d(12, n_classes, 1)

    def forward(self, x):
        low, high = self.backbone(x)
        y = F.interpolate(self.score_high(high), size=low.shape[2:], mode='bilinear', align_corners=False)
        return F.interpolate(y + self.score_low(low), size=x.shape[2:], mode='bilinear', align_corners=False)

    def predict(self, batch, method='probs'):
        self.eval()
        probs = F.softmax(self(batch['images']), 1)
        if method == 'probs':
            return probs
        return torch.stack([probs.argmax(1) == k for k in range(1, self.n_classes)], 1)


@torch.no_grad()
def get_blob_dict(model, batch):
    blobs = model.predict(batch, method='blobs')
    points = batch['points']
    hit = torch.stack([points == k for k in range(1, model.n_classes)], 1)
    has_point = (blobs & hit).flatten(2).any(-1)
    n_fp = int((blobs.flatten(2).any(-1) & ~has_point).sum())
    return {'blobs': blobs, 'has_point': has_point, 'n_fp': n_fp}


def compute_image_loss(S, counts):
    n, k, h, w = S.size()
    ones = torch.ones(counts.size(0), 1).long()
    target = (torch.cat([ones, counts], 1).view(n * k) > 0).float()
    smax = S.view(n, k, h * w).max(2)[0].view(-1)
    return F.binary_cross_entropy(smax, target, reduction='sum')


def compute_fp_loss(S_log, blob_dict):
    wrong = (blob_dict['blobs'] & ~blob_dict['has_point'][..., None, None]).any(1)
    target = torch.where(wrong, 0, 1)
    return F.nll_loss(S_log, target, ignore_index=1, reduction='mean')


def lc_loss(model, batch):
    model.train()
    n = batch['images'].size(0)
    blob_dict = get_blob_dict(model, batch)
    O = model(batch['images'])
    S = F.softmax(O, 1)
    S_log = F.log_softmax(O, 1)
    loss = compute_image_loss(S, batch['counts'])
    loss = loss + F.nll_loss(S_log, batch['points'], ignore_index=0, reduction='sum')
    if blob_dict['n_fp'] > 0:
        loss = loss + compute_fp_loss(S_log, blob_dict)
    return loss / n


def build():
    return FCN()


def step(model):
    opt = torch.optim.Adam(model.parameters(), lr=1e-5)
    points = torch.zeros(1, 32, 32, dtype=torch.long)
    points[0, 5, 9], points[0, 20, 11], points[0, 25, 28] = 1, 1, 2
    batch = {'images': torch.rand(1, 3, 32, 32) * 2 + 1, 'points': points,
             'counts': torch.stack([(points == k).sum((1, 2)) for k in (1, 2)], 1)}
    opt.zero_grad()
    loss = lc_loss(model, batch)
    loss.backward()
    opt.step()
    return loss.detach()


# predict() leaves the model in eval mode, so the forward of the loss trains with frozen batch-norm statistics;
# fix: model.train() after the blobs
TRUTH = dict(raises=None, at='module:backbone.bn1',
             culprits=['', 'backbone', 'backbone.bn1', 'backbone.bn2', 'function:eval', 'function:train'],
             dim=None, got=None, wanted=None, hint_any=['eval', 'train()', 'batch norm', 'batchnorm', 'mode'])
MENDED = [('    O = model(batch', "    model.train()\n    O = model(batch")]
