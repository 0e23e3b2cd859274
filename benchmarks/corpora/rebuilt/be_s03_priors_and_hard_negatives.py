import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/amdegroot/ssd.pytorch/issues/391'
CATEGORY = 'loss'
DESCRIPTION = 'Single-shot detection: each prior is matched to a box, and three hard negatives are kept for each positive.'


def match(truths, priors, labels, num_priors, g):
    loc = torch.randn(num_priors, 4, generator=g) * 0.1
    conf = torch.zeros(num_priors, dtype=torch.long)
    best = torch.randperm(num_priors, generator=g)[:len(truths)]
    conf[best] = labels + 1
    loc[best] = truths
    return loc, conf


def log_sum_exp(x):
    x_max = x.max()
    return torch.log(torch.sum(torch.exp(x - x_max), 1, keepdim=True)) + x_max


class MultiBoxLoss(nn.Module):
    def __init__(self, num_classes, negpos_ratio=3):
        super().__init__()
        self.num_classes = num_classes
        self.negpos_ratio = negpos_ratio

    def forward(self, predictions, targets):
        loc_data, conf_data, priors = predictions
        num = loc_data.size(0)
        num_priors = priors.size(0)
        g = torch.Generator().manual_seed(3)
        matched = [match(t[:, :-1], priors, t[:, -1].long(), num_priors, g) for t in targets]
        loc_t = torch.stack([m[0] for m in matched])
        conf_t = torch.stack([m[1] for m in matched])

        pos = conf_t > 0
        pos_idx = pos.unsqueeze(pos.dim()).expand_as(loc_data)
        loc_p = loc_data[pos_idx].view(-1, 4)
        loss_l = F.smooth_l1_loss(loc_p, loc_t[pos_idx].view(-1, 4), reduction='sum')

        # compute max conf across batch for hard negative mining
        batch_conf = conf_data.view(-1, self.num_classes)
        loss_c = log_sum_exp(batch_conf) - batch_conf.gather(1, conf_t.view(-1, 1))

        # hard negative mining
        loss_c[pos] = 0  # filter out pos boxes for now
        loss_c = loss_c.view(num, -1)
        _, loss_idx = loss_c.sort(1, descending=True)
        _, idx_rank = loss_idx.sort(1)
        num_pos = pos.long().sum(1, keepdim=True)
        num_neg = torch.clamp(self.negpos_ratio * num_pos, max=pos.size(1) - 1)
        neg = idx_rank < num_neg.expand_as(idx_rank)

        keep = (pos + neg).gt(0)
        loss_c = F.cross_entropy(conf_data[keep], conf_t[keep], reduction='sum')
        N = num_pos.sum()
        return loss_l / N, loss_c / N


class SSD(nn.Module):
    def __init__(self, num_classes=21, mbox=(4, 6)):
        super().__init__()
        self.num_classes = num_classes
        self.vgg = nn.ModuleList([nn.Conv2d(3, 16, 3, stride=4, padding=1), nn.Conv2d(16, 32, 3, stride=2, padding=1)])
        self.loc = nn.ModuleList(nn.Conv2d(c, m * 4, 3, padding=1) for c, m in zip((16, 32), mbox))
        self.conf = nn.ModuleList(nn.Conv2d(c, m * num_classes, 3, padding=1) for c, m in zip((16, 32), mbox))

    def forward(self, x):
        loc, conf = [], []
        for v, l, c in zip(self.vgg, self.loc, self.conf):
            x = F.relu(v(x))
            loc.append(l(x).permute(0, 2, 3, 1).contiguous())
            conf.append(c(x).permute(0, 2, 3, 1).contiguous())
        loc = torch.cat([o.view(o.size(0), -1) for o in loc], 1)
        conf = torch.cat([o.view(o.size(0), -1) for o in conf], 1)
        loc = loc.view(loc.size(0), -1, 4)
        return loc, conf.view(conf.size(0), -1, self.num_classes), torch.rand(loc.size(1), 4)


def build():
    torch.manual_seed(0)
    return SSD()


def step(model):
    images = torch.rand(2, 3, 64, 64)
    targets = [torch.cat([torch.rand(n, 4), torch.randint(0, 20, (n, 1)).float()], 1) for n in (3, 2)]
    loss_l, loss_c = MultiBoxLoss(21)(model(images), targets)
    return loss_l + loss_c


# repair in the thread: loss_c = loss_c.view(num, -1) has to stand before loss_c[pos] = 0
TRUTH = dict(raises='IndexError', at='function:setitem', culprits=['function:setitem', 'function:gather', 'function:sub', 'function:view'], dim=0, got=2,
             wanted=2816, hint_any=['view', 'reshape', 'order', 'before', '1408'])
MENDED = [('        loss_c[pos] = 0  # filter out pos boxes for now\n        loss_c = loss_c.view(num, -1)\n',
           '        loss_c = loss_c.view(num, -1)\n        loss_c[pos] = 0  # filter out pos boxes for now\n')]
