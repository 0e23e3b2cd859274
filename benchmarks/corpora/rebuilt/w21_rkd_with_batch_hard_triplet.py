import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/lenscloth/RKD (metric/loss.py) with a batch-hard triplet loss, as in huanghoujing/person-reid-triplet-loss-baseline'
CATEGORY = 'correct'
DESCRIPTION = 'Relational distillation: pairwise (B,B) distances of student and teacher (other widths), teacher under no_grad, (B,1)+(1,B) sums, labels compared with their transpose.'


def pdist(e, squared=False, eps=1e-12):
    e_square = e.pow(2).sum(dim=1)
    prod = e @ e.t()
    res = (e_square.unsqueeze(1) + e_square.unsqueeze(0) - 2 * prod).clamp(min=eps)
    if not squared:
        res = res.sqrt()
    res = res.clone()
    res[range(len(e)), range(len(e))] = 0
    return res


class RkdDistance(nn.Module):
    def forward(self, student, teacher):
        with torch.no_grad():
            t_d = pdist(teacher, squared=False)
            mean_td = t_d[t_d > 0].mean()
            t_d = t_d / mean_td
        d = pdist(student, squared=False)
        mean_d = d[d > 0].mean()
        d = d / mean_d
        return F.smooth_l1_loss(d, t_d)


class RKdAngle(nn.Module):
    def forward(self, student, teacher):
        with torch.no_grad():
            td = teacher.unsqueeze(0) - teacher.unsqueeze(1)
            norm_td = F.normalize(td, p=2, dim=2)
            t_angle = torch.bmm(norm_td, norm_td.transpose(1, 2)).view(-1)
        sd = student.unsqueeze(0) - student.unsqueeze(1)
        norm_sd = F.normalize(sd, p=2, dim=2)
        s_angle = torch.bmm(norm_sd, norm_sd.transpose(1, 2)).view(-1)
        return F.smooth_l1_loss(s_angle, t_angle)


class TripletLoss(nn.Module):
    def __init__(self, margin=0.3):
        super().__init__()
        self.ranking_loss = nn.MarginRankingLoss(margin=margin)

    def forward(self, inputs, targets):
        n = inputs.size(0)
        dist = torch.pow(inputs, 2).sum(dim=1, keepdim=True).expand(n, n)
        dist = dist + dist.t()
        dist = torch.addmm(dist, inputs, inputs.t(), beta=1, alpha=-2).clamp(min=1e-12).sqrt()
        mask = targets.expand(n, n).eq(targets.expand(n, n).t())
        dist_ap, dist_an = [], []
        for i in range(n):
            dist_ap.append(dist[i][mask[i]].max().unsqueeze(0))
            dist_an.append(dist[i][mask[i] == 0].min().unsqueeze(0))
        dist_ap, dist_an = torch.cat(dist_ap), torch.cat(dist_an)
        return self.ranking_loss(dist_an, dist_ap, torch.ones_like(dist_an))


class LinearEmbedding(nn.Module):
    def __init__(self, width, embedding_size):
        super().__init__()
        self.base = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU(),
                                  nn.Conv2d(width, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.linear = nn.Linear(width, embedding_size)

    def forward(self, x):
        return F.normalize(self.linear(self.base(x).flatten(1)), p=2, dim=1)


class Distiller(nn.Module):
    def __init__(self, dist_ratio=25.0, angle_ratio=50.0, triplet_ratio=1.0):
        super().__init__()
        self.student, self.teacher = LinearEmbedding(16, 16), LinearEmbedding(32, 48)
        self.dist_criterion, self.angle_criterion, self.triplet = RkdDistance(), RKdAngle(), TripletLoss()
        self.ratios = triplet_ratio, dist_ratio, angle_ratio

    def forward(self, images, labels):
        self.teacher.eval()
        with torch.no_grad():
            t_e = self.teacher(images)
        e = self.student(images)
        losses = self.triplet(e, labels), self.dist_criterion(e, t_e), self.angle_criterion(e, t_e)
        return sum(ratio * loss for ratio, loss in zip(self.ratios, losses))


def build():
    return Distiller()


def step(model):
    model.train()
    images, labels = torch.randn(16, 3, 24, 24), torch.arange(4).repeat_interleave(4)
    return model(images, labels)


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
MENDED = []
