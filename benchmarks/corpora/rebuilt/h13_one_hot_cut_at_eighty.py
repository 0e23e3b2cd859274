import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/zimoqingfeng/UMOP/issues/2'
CATEGORY = 'layer'
DESCRIPTION = 'Detector head with level resampling: the background column of the one-hot labels is cut off by [:, :80]; with five classes the labels keep six columns. y = F.one_hot(labels)[:, :self.num_classes].'


def permute_to_n_hwa_k(tensor, k):
    n, _, h, w = tensor.shape
    return tensor.view(n, -1, k, h, w).permute(0, 3, 4, 1, 2).reshape(n, -1, k)


class LevelResamplingHead(nn.Module):
    def __init__(self, num_classes, in_channels=16, feat_channels=16, stacked_convs=1, num_anchors=2, gamma=2.0):
        super().__init__()
        self.num_classes = num_classes
        self.cls_out_channels = num_classes
        self.num_anchors = num_anchors
        self.gamma = gamma
        self.cls_convs = nn.ModuleList()
        self.reg_convs = nn.ModuleList()
        for i in range(stacked_convs):
            chn = in_channels if i == 0 else feat_channels
            self.cls_convs.append(nn.Sequential(nn.Conv2d(chn, feat_channels, 3, padding=1), nn.ReLU()))
            self.reg_convs.append(nn.Sequential(nn.Conv2d(chn, feat_channels, 3, padding=1), nn.ReLU()))
        self.retina_cls = nn.Conv2d(feat_channels, num_anchors * self.cls_out_channels, 3, padding=1)
        self.retina_reg = nn.Conv2d(feat_channels, num_anchors * 4, 3, padding=1)

    def forward_single(self, x):
        cls_feat, reg_feat = x, x
        for conv in self.cls_convs:
            cls_feat = conv(cls_feat)
        for conv in self.reg_convs:
            reg_feat = conv(reg_feat)
        return self.retina_cls(cls_feat), self.retina_reg(reg_feat)

    def forward(self, feats):
        return tuple(map(list, zip(*[self.forward_single(f) for f in feats])))

    def loss_single(self, cls_score, bbox_pred, labels, label_weights, bbox_targets):
        cls_score = permute_to_n_hwa_k(cls_score, self.cls_out_channels).reshape(-1, self.cls_out_channels)
        bbox_pred = permute_to_n_hwa_k(bbox_pred, 4).reshape(-1, 4)
        labels, label_weights = labels.reshape(-1), label_weights.reshape(-1)
        prob = cls_score.sigmoid()
        y = F.one_hot(labels)[:, :80]
        pos_xse = - torch.log(prob) * y * label_weights[:, None]
        neg_xse = - torch.log(1 - prob) * (1 - y) * prob ** self.gamma * label_weights[:, None]
        pos = labels < self.num_classes
        loss_bbox = F.l1_loss(bbox_pred[pos], bbox_targets.reshape(-1, 4)[pos], reduction='sum')
        return pos_xse.sum() + neg_xse.sum(), loss_bbox, pos.sum()

    def loss(self, cls_scores, bbox_preds, targets):
        num_pos, total = 0, 0
        for cls_score, bbox_pred, target in zip(cls_scores, bbox_preds, targets):
            loss_cls, loss_bbox, n = self.loss_single(cls_score, bbox_pred, *target)
            total = total + loss_cls + loss_bbox
            num_pos = num_pos + n
        return total / num_pos.clamp(min=1)


def get_targets(feats, num_classes, num_anchors):
    g = torch.Generator().manual_seed(8)
    targets = []
    for f in feats:
        n, _, h, w = f.shape
        labels = torch.full((n, h * w * num_anchors), num_classes)
        hits = torch.arange(n * num_classes).view(n, num_classes) % labels.size(1)
        labels.scatter_(1, hits, torch.arange(num_classes).expand(n, -1))
        targets.append((labels, torch.ones(labels.shape), torch.randn(n, labels.size(1), 4, generator=g)))
    return targets


classes = ['person', 'bicycle', 'car', 'motorcycle', 'airplane']


def build():
    torch.manual_seed(0)
    return LevelResamplingHead(num_classes=len(classes))


def step(model):
    g = torch.Generator().manual_seed(1)
    feats = [torch.randn(2, 16, s, s, generator=g) for s in (8, 4)]
    cls_scores, bbox_preds = model(feats)
    return model.loss(cls_scores, bbox_preds, get_targets(feats, model.num_classes, model.num_anchors))


TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['function:getitem', 'function:one_hot'], dim=1, got=6, wanted=5,
             hint_any=['background', '80', 'one_hot', 'num_classes', 'column'])
MENDED = [('F.one_hot(labels)[:, :80]', 'F.one_hot(labels)[:, :self.num_classes]')]
