import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/jbwang1997/OPUS/issues/8'
CATEGORY = 'correct'
DESCRIPTION = 'OPUS: the predicted points of a decoder layer are detached before the next layer refines them; on purpose, every layer is trained by its own loss (deep supervision).'


class AdaptiveMixing(nn.Module):
    def __init__(self, dim, num_points):
        super().__init__()
        self.parameter_generator = nn.Linear(dim, num_points * num_points)
        self.out_proj = nn.Linear(num_points * dim, dim)
        self.num_points = num_points

    def forward(self, sampled, query_feat):
        b, q, p, c = sampled.shape
        mix = self.parameter_generator(query_feat).view(b, q, p, p)
        out = F.relu(F.layer_norm(mix @ sampled, [p, c]))
        return query_feat + self.out_proj(out.flatten(2))


class OPUSTransformerDecoderLayer(nn.Module):
    def __init__(self, dim, num_points, num_classes, refine_points):
        super().__init__()
        self.position_encoder = nn.Sequential(nn.Linear(3 * num_points, dim), nn.LayerNorm(dim), nn.ReLU())
        self.self_attn = nn.MultiheadAttention(dim, 4, batch_first=True)
        self.mixing = AdaptiveMixing(dim, num_points)
        self.ffn = nn.Sequential(nn.Linear(dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim))
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.cls_branch = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, num_classes * refine_points))
        self.reg_branch = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, 3 * refine_points))
        self.num_classes, self.refine_points = num_classes, refine_points

    def sample(self, query_points, feats):
        grid = (query_points[..., [0, 1]] * 2 - 1)
        out = F.grid_sample(feats, grid, align_corners=False)
        return out.permute(0, 2, 3, 1)

    def refine_points_xyz(self, points_proposal, points_delta):
        points_delta = points_delta.reshape(*points_delta.shape[:2], self.refine_points, 3)
        centre = points_proposal.mean(dim=2, keepdim=True)
        return centre + points_delta

    def forward(self, query_points, query_feat, feats):
        query_feat = query_feat + self.position_encoder(query_points.flatten(2))
        query_feat = self.norm1(query_feat + self.self_attn(query_feat, query_feat, query_feat)[0])
        query_feat = self.norm2(self.mixing(self.sample(query_points, feats), query_feat))
        query_feat = self.norm3(query_feat + self.ffn(query_feat))
        cls_score = self.cls_branch(query_feat).reshape(*query_feat.shape[:2], self.refine_points, self.num_classes)
        refine_pt = self.refine_points_xyz(query_points, self.reg_branch(query_feat))
        return query_feat, cls_score, refine_pt


class OPUSTransformerDecoder(nn.Module):
    def __init__(self, dim=16, num_query=10, num_classes=4, num_points=(1, 2, 4, 4)):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, dim, 3, 2, 1), nn.ReLU(), nn.Conv2d(dim, dim, 3, 2, 1))
        self.init_points = nn.Embedding(num_query, 3)
        nn.init.uniform_(self.init_points.weight, 0, 1)
        self.query_feat = nn.Embedding(num_query, dim)
        self.decoder_layers = nn.ModuleList([OPUSTransformerDecoderLayer(dim, num_points[i], num_classes, num_points[i + 1])
                                             for i in range(len(num_points) - 1)])

    def forward(self, images):
        feats, b = self.backbone(images), images.size(0)
        query_points = self.init_points.weight[None, :, None].repeat(b, 1, 1, 1)
        query_feat = self.query_feat.weight[None].repeat(b, 1, 1)
        cls_scores, refine_pts = [], []
        for layer in self.decoder_layers:
            query_points = query_points.detach()
            query_feat, cls_score, query_points = layer(query_points, query_feat, feats)
            cls_scores.append(cls_score)
            refine_pts.append(query_points)
        return cls_scores, refine_pts


def loss_single(cls_score, refine_pt, gt_points, gt_labels):
    pred = refine_pt.flatten(1, 2)
    dist = torch.cdist(pred, gt_points)
    pred_to_gt, gt_idx = dist.min(dim=2)
    gt_to_pred = dist.min(dim=1)[0]
    labels = gt_labels.gather(1, gt_idx)
    loss_cls = F.cross_entropy(cls_score.flatten(1, 2).transpose(1, 2), labels)
    return loss_cls + 0.5 * (pred_to_gt.mean() + gt_to_pred.mean())


def build():
    return OPUSTransformerDecoder()


def step(model):
    images, gt_points, gt_labels = torch.randn(2, 3, 32, 32), torch.rand(2, 30, 3), torch.randint(0, 4, (2, 30))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4, weight_decay=0.01)
    for _ in range(2):
        cls_scores, refine_pts = model(images)
        loss = sum(loss_single(c, p, gt_points, gt_labels) for c, p in zip(cls_scores, refine_pts))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 35)
        optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
