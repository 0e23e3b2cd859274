import itertools
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/facebookresearch/detr/issues/590'
CATEGORY = 'correct'
DESCRIPTION = 'DETR: pairwise costs of all queries with all targets (cdist, pairwise GIoU), matching under no_grad, then the diagonal of a pairwise GIoU as the loss, sums over num_boxes.'


def box_cxcywh_to_xyxy(x):
    x_c, y_c, w, h = x.unbind(-1)
    return torch.stack([x_c - 0.5 * w, y_c - 0.5 * h, x_c + 0.5 * w, y_c + 0.5 * h], dim=-1)


def box_area(b):
    return (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])


def generalized_box_iou(boxes1, boxes2):
    area1, area2 = box_area(boxes1), box_area(boxes2)
    wh = (torch.min(boxes1[:, None, 2:], boxes2[:, 2:]) - torch.max(boxes1[:, None, :2], boxes2[:, :2])).clamp(min=0)
    inter = wh[:, :, 0] * wh[:, :, 1]
    union = area1[:, None] + area2 - inter
    iou = inter / union
    wh = (torch.max(boxes1[:, None, 2:], boxes2[:, 2:]) - torch.min(boxes1[:, None, :2], boxes2[:, :2])).clamp(min=0)
    area = wh[:, :, 0] * wh[:, :, 1]
    return iou - (area - union) / area


class HungarianMatcher(nn.Module):
    def __init__(self, cost_class=1, cost_bbox=5, cost_giou=2):
        super().__init__()
        self.cost_class, self.cost_bbox, self.cost_giou = cost_class, cost_bbox, cost_giou

    @torch.no_grad()
    def forward(self, outputs, targets):
        bs, num_queries = outputs['pred_logits'].shape[:2]
        out_prob = outputs['pred_logits'].flatten(0, 1).softmax(-1)
        out_bbox = outputs['pred_boxes'].flatten(0, 1)
        tgt_ids, tgt_bbox = torch.cat([v['labels'] for v in targets]), torch.cat([v['boxes'] for v in targets])
        cost_class = -out_prob[:, tgt_ids]
        cost_bbox = torch.cdist(out_bbox, tgt_bbox, p=1)
        cost_giou = -generalized_box_iou(box_cxcywh_to_xyxy(out_bbox), box_cxcywh_to_xyxy(tgt_bbox))
        C = self.cost_bbox * cost_bbox + self.cost_class * cost_class + self.cost_giou * cost_giou
        C = C.view(bs, num_queries, -1)
        sizes = [len(v['boxes']) for v in targets]
        indices = []
        for i, c in enumerate(C.split(sizes, -1)):
            c = c[i]
            best = min(itertools.permutations(range(num_queries), c.shape[1]), key=lambda rows: sum(c[r, j].item() for j, r in enumerate(rows)))
            indices.append((torch.tensor(best), torch.arange(c.shape[1])))
        return indices


class SetCriterion(nn.Module):
    def __init__(self, num_classes, matcher, eos_coef=0.1):
        super().__init__()
        self.num_classes, self.matcher = num_classes, matcher
        empty_weight = torch.ones(num_classes + 1)
        empty_weight[-1] = eos_coef
        self.register_buffer('empty_weight', empty_weight)

    def forward(self, outputs, targets):
        indices = self.matcher({k: v.detach() for k, v in outputs.items()}, targets)
        num_boxes = sum(len(t['labels']) for t in targets)
        idx = (torch.cat([torch.full_like(src, i) for i, (src, _) in enumerate(indices)]), torch.cat([src for src, _ in indices]))
        target_classes_o = torch.cat([t['labels'][J] for t, (_, J) in zip(targets, indices)])
        target_classes = torch.full(outputs['pred_logits'].shape[:2], self.num_classes, dtype=torch.int64)
        target_classes[idx] = target_classes_o
        loss_ce = F.cross_entropy(outputs['pred_logits'].transpose(1, 2), target_classes, self.empty_weight)
        src_boxes = outputs['pred_boxes'][idx]
        target_boxes = torch.cat([t['boxes'][J] for t, (_, J) in zip(targets, indices)], dim=0)
        loss_bbox = F.l1_loss(src_boxes, target_boxes, reduction='none').sum() / num_boxes
        giou = generalized_box_iou(box_cxcywh_to_xyxy(src_boxes), box_cxcywh_to_xyxy(target_boxes))
        loss_giou = (1 - torch.diag(giou)).sum() / num_boxes
        return loss_ce + 5 * loss_bbox + 2 * loss_giou


class DETRdemo(nn.Module):
    def __init__(self, num_classes=4, hidden_dim=32, nheads=4, num_queries=5):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, hidden_dim, 3, 2, 1))
        self.transformer = nn.Transformer(hidden_dim, nheads, 1, 1, 64)
        self.linear_class, self.linear_bbox = nn.Linear(hidden_dim, num_classes + 1), nn.Linear(hidden_dim, 4)
        self.query_pos = nn.Parameter(torch.rand(num_queries, hidden_dim))
        self.row_embed, self.col_embed = nn.Parameter(torch.rand(50, hidden_dim // 2)), nn.Parameter(torch.rand(50, hidden_dim // 2))
        self.criterion = SetCriterion(num_classes, HungarianMatcher())

    def forward(self, inputs):
        h = self.conv(inputs)
        H, W = h.shape[-2:]
        pos = torch.cat([self.col_embed[:W].unsqueeze(0).repeat(H, 1, 1),
                         self.row_embed[:H].unsqueeze(1).repeat(1, W, 1)], dim=-1).flatten(0, 1).unsqueeze(1)
        h = self.transformer(pos + 0.1 * h.flatten(2).permute(2, 0, 1),
                             self.query_pos.unsqueeze(1).expand(-1, h.shape[0], -1)).transpose(0, 1)
        return {'pred_logits': self.linear_class(h), 'pred_boxes': self.linear_bbox(h).sigmoid()}


def build():
    return DETRdemo()


def step(model):
    targets = [dict(labels=torch.randint(0, 4, (n,)), boxes=0.2 + 0.5 * torch.rand(n, 4)) for n in (2, 1, 3)]
    return model.criterion(model(torch.randn(3, 3, 24, 32)), targets)


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
MENDED = []
