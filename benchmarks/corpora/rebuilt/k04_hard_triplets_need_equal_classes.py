import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, Sampler

SOURCE = 'https://github.com/michuanhaohao/reid-strong-baseline/issues/201'
CATEGORY = 'layer'
DESCRIPTION = 'Re-identification: the hard triplet mining views dist[is_pos] as (N, -1), which needs as many images of every person; the loader only shuffles.'


class Market(Dataset):
    """Names of persons as in the folder: some have more crops than others."""

    def __init__(self, persons=41, per=4):
        self.pids = torch.arange(persons).repeat_interleave(per)
        self.images = torch.randn(len(self.pids), 3, 32, 16)

    def __len__(self):
        return len(self.pids)

    def __getitem__(self, i):
        return self.images[i], int(self.pids[i])


class RandomIdentitySampler(Sampler):
    """P persons with K images each, one batch after the other."""

    def __init__(self, source, batch_size, num_instances):
        self.pids, self.p, self.k = source.pids, batch_size // num_instances, num_instances

    def __iter__(self):
        order = torch.randperm(int(self.pids.max()) + 1)
        for pid in order[: len(order) // self.p * self.p]:
            rows = (self.pids == pid).nonzero().flatten()
            yield from rows[torch.randperm(len(rows))[: self.k]].tolist()

    def __len__(self):
        return len(self.pids)


def make_data_loader(cfg):
    train_set = Market()
    if cfg['SAMPLER'] == 'softmax':
        return DataLoader(train_set, batch_size=cfg['IMS_PER_BATCH'], shuffle=True, collate_fn=train_collate_fn)
    return DataLoader(train_set, batch_size=cfg['IMS_PER_BATCH'], collate_fn=train_collate_fn,
                      sampler=RandomIdentitySampler(train_set, cfg['IMS_PER_BATCH'], cfg['NUM_INSTANCE']))


def train_collate_fn(batch):
    imgs, pids = zip(*batch)
    return torch.stack(imgs, dim=0), torch.tensor(pids, dtype=torch.int64)


def euclidean_dist(x, y):
    m, n = x.size(0), y.size(0)
    dist = x.pow(2).sum(1, keepdim=True).expand(m, n) + y.pow(2).sum(1, keepdim=True).expand(n, m).t()
    return (dist - 2 * x @ y.t()).clamp(min=1e-12).sqrt()


def hard_example_mining(dist_mat, labels):
    N = dist_mat.size(0)
    is_pos = labels.expand(N, N).eq(labels.expand(N, N).t())
    is_neg = labels.expand(N, N).ne(labels.expand(N, N).t())
    dist_ap, _ = torch.max(dist_mat[is_pos].contiguous().view(N, -1), 1, keepdim=True)
    dist_an, _ = torch.min(dist_mat[is_neg].contiguous().view(N, -1), 1, keepdim=True)
    return dist_ap.squeeze(1), dist_an.squeeze(1)


class Baseline(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.base = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1))
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.bottleneck = nn.BatchNorm1d(32)
        self.classifier = nn.Linear(32, num_classes, bias=False)

    def forward(self, x):
        global_feat = self.gap(self.base(x)).flatten(1)
        return self.classifier(self.bottleneck(global_feat)), global_feat


CFG = dict(IMS_PER_BATCH=32, NUM_INSTANCE=4, SAMPLER='softmax', METRIC_LOSS_TYPE='triplet', MARGIN=0.3)


def make_loss(cfg):
    ranking = nn.MarginRankingLoss(margin=cfg['MARGIN'])

    def loss_func(score, feat, target):
        dist_ap, dist_an = hard_example_mining(euclidean_dist(feat, feat), target)
        return F.cross_entropy(score, target, label_smoothing=0.1) + ranking(dist_an, dist_ap, torch.ones_like(dist_an))
    return loss_func


def build():
    return Baseline(41)


def step(model):
    loss_func = make_loss(CFG)
    img, target = next(iter(make_data_loader(CFG)))
    score, feat = model(img)
    return loss_func(score, feat, target)


# real fix: batches of P persons with K images each: the sampler of the configuration must be softmax_triplet
# offending tensor: dist_mat[is_pos], whose length is not a multiple of 32
TRUTH = dict(raises='RuntimeError', at='function:view', culprits=['target', 'input', 'function:getitem', 'function:view', 'function:eq'], dim=None, got=None, wanted=None,
             hint_any=['label', 'target', 'mask', 'equal', 'same number', 'data', 'batch', 'indexing', 'depends'])
MENDED = [("SAMPLER='softmax'", "SAMPLER='softmax_triplet'")]
