import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/tfzhou/ContrastiveSeg/issues/16'
CATEGORY = 'loss'
DESCRIPTION = 'Pixel contrast with a memory bank: the self-contrast mask still scatters one column per anchor view although the columns are the queue.'


def sample_anchors(feats, labels, num_classes, views):
    anchors, classes = [], []
    for b in range(feats.shape[0]):
        for c in range(num_classes):
            idx = (labels[b] == c).nonzero().flatten()
            if idx.numel() < views:
                continue
            anchors.append(feats[b, idx[:views]])
            classes.append(c)
    return torch.stack(anchors), torch.tensor(classes)


class PixelContrastLoss(nn.Module):
    def __init__(self, num_classes, temperature=0.1, base_temperature=0.07, max_views=2):
        super().__init__()
        self.num_classes = num_classes
        self.temperature, self.base_temperature = temperature, base_temperature
        self.max_views = max_views

    def _flatten_queue(self, queue):
        class_num, cache_size, feat = queue.shape
        y = torch.arange(class_num).repeat_interleave(cache_size).view(-1, 1)
        return queue.reshape(class_num * cache_size, feat), y

    def _contrastive(self, X_anchor, y_anchor, queue=None):
        anchor_num, n_view = X_anchor.shape[0], X_anchor.shape[1]
        y_anchor = y_anchor.view(-1, 1)
        anchor_feature = torch.cat(torch.unbind(X_anchor, dim=1), dim=0)
        if queue is not None:
            contrast_feature, y_contrast = self._flatten_queue(queue)
            contrast_count = 1
        else:
            contrast_feature, y_contrast = anchor_feature, y_anchor
            contrast_count = n_view

        mask = torch.eq(y_anchor, y_contrast.T).float()
        logits = torch.matmul(anchor_feature, contrast_feature.T) / self.temperature
        logits = logits - logits.max(dim=1, keepdim=True)[0].detach()

        mask = mask.repeat(n_view, contrast_count)
        neg_mask = 1 - mask
        logits_mask = torch.ones_like(mask).scatter_(1, torch.arange(anchor_num * n_view).view(-1, 1), 0)
        mask = mask * logits_mask

        neg_logits = (torch.exp(logits) * neg_mask).sum(1, keepdim=True)
        log_prob = logits - torch.log(torch.exp(logits) + neg_logits)
        mean_log_prob_pos = (mask * log_prob).sum(1) / mask.sum(1)
        return (-(self.temperature / self.base_temperature) * mean_log_prob_pos).mean()

    def forward(self, feats, labels, queue=None):
        labels = F.interpolate(labels.unsqueeze(1).float(), feats.shape[2:], mode='nearest').squeeze(1).long()
        feats = feats.permute(0, 2, 3, 1).flatten(1, 2)
        X, y = sample_anchors(feats, labels.flatten(1), self.num_classes, self.max_views)
        return self._contrastive(X, y, queue)


class SegWithMemory(nn.Module):
    def __init__(self, num_classes=5, dim=16, memory_size=2):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 24, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(24, 24, 3, padding=1), nn.ReLU())
        self.cls_head = nn.Conv2d(24, num_classes, 1)
        self.proj_head = nn.Conv2d(24, dim, 1)
        self.register_buffer('segment_queue', F.normalize(torch.randn(num_classes, memory_size, dim), dim=2))
        self.contrast = PixelContrastLoss(num_classes)

    def forward(self, x, target):
        f = self.backbone(x)
        seg = F.interpolate(self.cls_head(f), target.shape[1:], mode='bilinear', align_corners=True)
        embed = F.normalize(self.proj_head(f), dim=1)
        return F.cross_entropy(seg, target) + 0.1 * self.contrast(embed, target, self.segment_queue)


def build():
    torch.manual_seed(0)
    return SegWithMemory()


def step(model):
    target = torch.zeros(2, 24, 24, dtype=torch.long)
    target[:, 8:16], target[:, 16:] = 2, 4
    return model(torch.randn(2, 3, 24, 24), target)


# real fix: no self-contrast exists between anchors and a queue; build the mask only where the contrast set is the anchors
# index 0..11 (6 anchors x 2 views) into a mask of 10 columns (5 classes x 2 cached)
TRUTH = dict(raises='RuntimeError', at='function:scatter_', culprits=['function:scatter_', 'function:arange'], dim=1, got=12, wanted=10,
             hint_any=['index', 'out of bounds', 'queue', 'column', 'arange', 'self'])
MENDED = [('''        logits_mask = torch.ones_like(mask).scatter_(1, torch.arange(anchor_num * n_view).view(-1, 1), 0)
''', '''        logits_mask = torch.ones_like(mask)
        if queue is None:
            logits_mask = logits_mask.scatter_(1, torch.arange(anchor_num * n_view).view(-1, 1), 0)
''')]
