import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = ('https://github.com/Feynman27/pytorch-detect-to-track/issues/4 (30 x 124 against 30 x 4; that the run was not class-agnostic is read from 124 = 4 * 31)')
CATEGORY = 'layer'
DESCRIPTION = ('Detect to track: without the class-agnostic flag the tracking head predicts a shift for each of 31 classes, and the branch that picks the class '
               'of a region exists for the boxes of the detection only.')


def parse_args(args=()):
    parser = argparse.ArgumentParser(description='Train a D&T network')
    parser.add_argument('--dataset', default='imagenet_vid+imagenet_det')
    parser.add_argument('--bs', dest='batch_size', default=2, type=int)
    parser.add_argument('--cag', dest='class_agnostic', action='store_true')
    return parser.parse_args(args)


def _smooth_l1_loss(bbox_pred, bbox_targets, bbox_inside_weights, bbox_outside_weights, sigma=1.0):
    sigma_2 = sigma ** 2
    box_diff = bbox_pred - bbox_targets
    in_box_diff = bbox_inside_weights * box_diff
    abs_in_box_diff = torch.abs(in_box_diff)
    smoothL1_sign = (abs_in_box_diff < 1. / sigma_2).detach().float()
    in_loss_box = torch.pow(in_box_diff, 2) * (sigma_2 / 2.) * smoothL1_sign + (abs_in_box_diff - (0.5 / sigma_2)) * (1. - smoothL1_sign)
    return (bbox_outside_weights * in_loss_box).sum(1).mean()


class ProposalTarget(nn.Module):
    def __init__(self, n_classes, rois_per_image):
        super().__init__()
        self.n_classes, self.rois_per_image = n_classes, rois_per_image

    def forward(self, gt_boxes):
        pick = torch.randint(0, gt_boxes.size(1), (gt_boxes.size(0), self.rois_per_image))
        boxes = torch.gather(gt_boxes, 1, pick.unsqueeze(2).expand(-1, -1, gt_boxes.size(2)))
        labels = boxes[..., 4].long()
        target = torch.randn(*pick.shape, 4) * 0.1
        inside = (labels > 0).float().unsqueeze(2).expand_as(target)
        return boxes[..., :4], labels.view(-1), target.view(-1, 4), inside.reshape(-1, 4), (inside > 0).float().reshape(-1, 4)


class Correlation(nn.Module):
    def __init__(self, max_displacement):
        super().__init__()
        self.d = max_displacement

    def forward(self, a, b):
        h, w = a.shape[2:]
        b = F.pad(b, [self.d] * 4)
        maps = [(a * b[:, :, i:i + h, j:j + w]).mean(1) for i in range(2 * self.d + 1) for j in range(2 * self.d + 1)]
        return torch.stack(maps, dim=1)


def roi_pool(feat, rois, size):
    out = []
    for i in range(rois.size(0)):
        for x1, y1, x2, y2 in rois[i].round().long().tolist():
            out.append(F.adaptive_avg_pool2d(feat[i:i + 1, :, y1:y2 + 1, x1:x2 + 1], size))
    return torch.cat(out)


class _RFCN(nn.Module):
    def __init__(self, classes, class_agnostic, dim=16):
        super().__init__()
        self.n_classes = classes
        self.class_agnostic = class_agnostic
        self.n_reg_classes = 1 if class_agnostic else classes
        self.RFCN_base = nn.Sequential(nn.Conv2d(3, dim, 3, 2, 1), nn.ReLU(), nn.Conv2d(dim, dim, 3, 2, 1), nn.ReLU())
        self.RFCN_cls_net = nn.Conv2d(dim, self.n_classes, 1)
        self.RFCN_bbox_net = nn.Conv2d(dim, 4 * self.n_reg_classes, 1)
        self.correlation = Correlation(2)
        self.corr_bbox_net = nn.Conv2d(2 * dim + 25, 4 * self.n_reg_classes, 1)
        self.RFCN_proposal_target = ProposalTarget(classes, 15)

    def forward(self, im_data, gt_boxes):
        base_feat = [self.RFCN_base(im_data[:, leg]) for leg in range(2)]
        loss_cls, loss_bbox = 0, 0
        for leg in range(2):
            rois, rois_label, rois_target, inside_ws, outside_ws = self.RFCN_proposal_target(gt_boxes[:, leg])
            cls_score = roi_pool(self.RFCN_cls_net(base_feat[leg]), rois, 3).mean((2, 3))
            bbox_pred = roi_pool(self.RFCN_bbox_net(base_feat[leg]), rois, 3).mean((2, 3))
            if not self.class_agnostic:
                bbox_pred_view = bbox_pred.view(bbox_pred.size(0), -1, 4)
                index = rois_label.view(-1, 1, 1).expand(rois_label.size(0), 1, 4)
                bbox_pred = torch.gather(bbox_pred_view, 1, index).squeeze(1)
            loss_cls = loss_cls + F.cross_entropy(cls_score, rois_label)
            loss_bbox = loss_bbox + _smooth_l1_loss(bbox_pred, rois_target, inside_ws, outside_ws)

        tracking_rois, tracking_label, tracking_rois_target, tracking_inside_ws, tracking_outside_ws = self.RFCN_proposal_target(gt_boxes[:, 0])
        tracking_feat = torch.cat([base_feat[0], base_feat[1], self.correlation(*base_feat)], dim=1)
        tracking_pred = roi_pool(self.corr_bbox_net(tracking_feat), tracking_rois, 3).mean((2, 3))
        tracking_loss_bbox = _smooth_l1_loss(tracking_pred, tracking_rois_target, tracking_inside_ws, tracking_outside_ws)
        return loss_cls, loss_bbox, tracking_loss_bbox


def build():
    torch.manual_seed(0)
    args = parse_args(['--bs', '2'])
    return _RFCN(31, args.class_agnostic)


def step(model):
    torch.manual_seed(1)
    im_data = torch.rand(2, 2, 3, 64, 64)
    x1y1 = torch.randint(0, 8, (2, 2, 4, 2))
    wh = torch.randint(3, 8, (2, 2, 4, 2))
    labels = torch.randint(1, 31, (2, 2, 4, 1))
    gt_boxes = torch.cat([x1y1, x1y1 + wh, labels], dim=3).float()
    return sum(model(im_data, gt_boxes))


# fix: train with --cag (or pick the class of the region for the tracking head as well)
# offending tensor: tracking_pred (30, 124) beside tracking_rois_target (30, 4)
TRUTH = dict(raises='RuntimeError', at='function:sub', culprits=['corr_bbox_net'], dim=1, got=124, wanted=4,
             hint_any=['class', '124', '31', 'agnostic', 'corr_bbox'])
MENDED = [("parse_args(['--bs', '2'])", "parse_args(['--bs', '2', '--cag'])")]
