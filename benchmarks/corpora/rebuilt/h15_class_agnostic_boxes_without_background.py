import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/roytseng-tw/Detectron.pytorch/issues/62 (the later head says nn.Linear(dim_in, 4 * 2), "bg and fg")'
CATEGORY = 'layer'
DESCRIPTION = 'Fast R-CNN with CLS_AGNOSTIC_BBOX_REG: the targets are spread over background and foreground (8 columns), the head regresses 4 numbers.'


class cfg:
    NUM_CLASSES = 21
    CLS_AGNOSTIC_BBOX_REG = True
    MLP_HEAD_DIM = 64


class fast_rcnn_outputs(nn.Module):
    def __init__(self, dim_in):
        super().__init__()
        self.cls_score = nn.Linear(dim_in, cfg.NUM_CLASSES)
        if cfg.CLS_AGNOSTIC_BBOX_REG:
            self.bbox_pred = nn.Linear(dim_in, 4)
        else:
            self.bbox_pred = nn.Linear(dim_in, 4 * cfg.NUM_CLASSES)

    def forward(self, x):
        if x.dim() == 4:
            x = x.squeeze(3).squeeze(2)
        return self.cls_score(x), self.bbox_pred(x)


class roi_2mlp_head(nn.Module):
    def __init__(self, dim_in, resolution):
        super().__init__()
        self.fc1 = nn.Linear(dim_in * resolution ** 2, cfg.MLP_HEAD_DIM)
        self.fc2 = nn.Linear(cfg.MLP_HEAD_DIM, cfg.MLP_HEAD_DIM)

    def forward(self, x):
        x = F.relu(self.fc1(x.flatten(1)))
        return F.relu(self.fc2(x))


class Generalized_RCNN(nn.Module):
    def __init__(self, dim_in=8, resolution=3):
        super().__init__()
        self.Box_Head = roi_2mlp_head(dim_in, resolution)
        self.Box_Outs = fast_rcnn_outputs(cfg.MLP_HEAD_DIM)

    def forward(self, roi_feats, blobs):
        cls_score, bbox_pred = self.Box_Outs(self.Box_Head(roi_feats))
        return fast_rcnn_losses(cls_score, bbox_pred, *blobs)


def compute_targets(n, seed):
    rng = np.random.RandomState(seed)
    labels = rng.randint(0, cfg.NUM_CLASSES, n)
    targets = rng.randn(n, 4).astype(np.float32)
    reg_labels = labels.copy()
    if cfg.CLS_AGNOSTIC_BBOX_REG:
        reg_labels[reg_labels > 0] = 1
    return labels, np.hstack((reg_labels[:, np.newaxis], targets)).astype(np.float32)


def expand_bbox_targets(bbox_target_data):
    num_bbox_reg_classes = 2 if cfg.CLS_AGNOSTIC_BBOX_REG else cfg.NUM_CLASSES
    clss = bbox_target_data[:, 0]
    bbox_targets = np.zeros((clss.size, 4 * num_bbox_reg_classes), np.float32)
    bbox_inside_weights = np.zeros(bbox_targets.shape, np.float32)
    for ind in np.where(clss > 0)[0]:
        start = 4 * int(clss[ind])
        bbox_targets[ind, start:start + 4] = bbox_target_data[ind, 1:]
        bbox_inside_weights[ind, start:start + 4] = 1.0
    return bbox_targets, bbox_inside_weights


def smooth_l1_loss(bbox_pred, bbox_targets, inside_weights, outside_weights, beta=1.0):
    box_diff = bbox_pred - bbox_targets
    in_box_diff = inside_weights * box_diff
    abs_in = torch.abs(in_box_diff)
    sign = (abs_in < beta).detach().float()
    in_loss = sign * 0.5 * in_box_diff ** 2 / beta + (1 - sign) * (abs_in - 0.5 * beta)
    return (outside_weights * in_loss).sum() / in_loss.size(0)


def fast_rcnn_losses(cls_score, bbox_pred, labels, bbox_targets, inside, outside):
    loss_cls = F.cross_entropy(cls_score, torch.from_numpy(labels))
    loss_bbox = smooth_l1_loss(bbox_pred, *map(torch.from_numpy, (bbox_targets, inside, outside)))
    return loss_cls + loss_bbox


def build():
    torch.manual_seed(0)
    return Generalized_RCNN()


def step(model):
    labels, target_data = compute_targets(32, seed=4)
    bbox_targets, inside = expand_bbox_targets(target_data)
    outside = np.array(inside > 0, dtype=np.float32)
    roi_feats = torch.randn(32, 8, 3, 3, generator=torch.Generator().manual_seed(2))
    return model(roi_feats, (labels, bbox_targets, inside, outside))


TRUTH = dict(raises='RuntimeError', at='function:sub', culprits=['Box_Outs.bbox_pred', 'Box_Outs', 'target'], dim=1, got=4, wanted=8,
             hint_any=['8', 'bbox_pred', 'out_features'])
MENDED = [('self.bbox_pred = nn.Linear(dim_in, 4)', 'self.bbox_pred = nn.Linear(dim_in, 4 * 2)')]
