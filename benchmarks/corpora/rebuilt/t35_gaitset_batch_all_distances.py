import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/AbnerHqC/GaitSet/issues/35'
CATEGORY = 'correct'
DESCRIPTION = 'GaitSet: per-part (n, m, m) distances come from broadcasting a squared norm against its transpose.'


class SetNet(nn.Module):
    def __init__(self, hidden_dim=12, bins=(1, 2, 4)):
        super().__init__()
        self.layer1 = nn.Conv2d(1, 8, 5, padding=2, bias=False)
        self.layer2 = nn.Conv2d(8, 16, 3, padding=1, bias=False)
        self.bin_num = bins
        self.fc_bin = nn.Parameter(nn.init.xavier_uniform_(torch.zeros(sum(bins), 16, hidden_dim)))

    def forward(self, silho):
        n, s, h, w = silho.size()
        x = F.leaky_relu(self.layer1(silho.reshape(n * s, 1, h, w)))
        x = F.max_pool2d(F.leaky_relu(self.layer2(x)), 2)
        x = x.view(n, s, *x.shape[1:]).max(1)[0]
        feature = []
        for num_bin in self.bin_num:
            z = x.view(n, x.size(1), num_bin, -1)
            feature.append(z.mean(3) + z.max(3)[0])
        feature = torch.cat(feature, 2).permute(2, 0, 1).contiguous()
        return feature.matmul(self.fc_bin).permute(1, 0, 2).contiguous()


class TripletLoss(nn.Module):
    def __init__(self, margin):
        super().__init__()
        self.margin = margin

    def forward(self, feature, label):
        n, m, d = feature.size()
        hp_mask = (label.unsqueeze(1) == label.unsqueeze(2)).view(-1)
        hn_mask = (label.unsqueeze(1) != label.unsqueeze(2)).view(-1)
        dist = self.batch_dist(feature).view(-1)
        full_hp_dist = torch.masked_select(dist, hp_mask).view(n, m, -1, 1)
        full_hn_dist = torch.masked_select(dist, hn_mask).view(n, m, 1, -1)
        full_loss_metric = F.relu(self.margin + full_hp_dist - full_hn_dist).view(n, -1)
        full_loss_num = (full_loss_metric != 0).sum(1).float()
        return full_loss_metric.sum(1) / full_loss_num.clamp(min=1)

    def batch_dist(self, x):
        x2 = torch.sum(x ** 2, 2)
        dist = x2.unsqueeze(2) + x2.unsqueeze(2).transpose(1, 2) - 2 * torch.matmul(x, x.transpose(1, 2))
        return torch.sqrt(F.relu(dist) + 1e-12)


def build():
    return SetNet()


def step(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    seq = torch.rand(8, 5, 16, 12)
    target_label = torch.arange(4).repeat_interleave(2)
    optimizer.zero_grad()
    feature = model(seq)
    triplet_feature = feature.permute(1, 0, 2).contiguous()
    triplet_label = target_label.unsqueeze(0).repeat(triplet_feature.size(0), 1)
    loss = TripletLoss(0.2)(triplet_feature, triplet_label).mean()
    loss.backward()
    optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
