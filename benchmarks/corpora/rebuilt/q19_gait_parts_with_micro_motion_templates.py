import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/OliverHxh/GaitPart/issues/4'
CATEGORY = 'correct'
DESCRIPTION = 'GaitPart: each part is permuted to (batch, channel, frame) before MaxPool1d and AvgPool1d; a reader holds that this pools the channels, but 1-d pooling slides over the last axis, the frames (16 of each).'


class FConv(nn.Module):
    def __init__(self, inplanes, planes, kernel, p):
        super().__init__()
        self.p = p
        self.conv = nn.Conv2d(inplanes, planes, kernel_size=kernel, padding=kernel // 2, bias=False)

    def forward(self, x):
        strips = torch.cat(x.chunk(self.p, dim=2), dim=0)
        out = F.leaky_relu(self.conv(strips))
        return torch.cat(out.chunk(self.p, dim=0), dim=2)


class TemporalFeatureAggregator(nn.Module):
    def __init__(self, inplanes, part_num):
        super().__init__()
        self.part_num = part_num
        squeeze = inplanes // 4
        self.conv_list_1 = nn.ModuleList([nn.Sequential(nn.Conv1d(inplanes, squeeze, 3, padding=1, bias=False), nn.LeakyReLU(),
                                                        nn.Conv1d(squeeze, inplanes, 1, bias=False)) for _ in range(part_num)])
        self.conv_list_2 = nn.ModuleList([nn.Sequential(nn.Conv1d(inplanes, squeeze, 3, padding=1, bias=False), nn.LeakyReLU(),
                                                        nn.Conv1d(squeeze, inplanes, 3, padding=1, bias=False)) for _ in range(part_num)])
        self.max_pool1d_3, self.avg_pool1d_3 = nn.MaxPool1d(3, stride=1, padding=1), nn.AvgPool1d(3, stride=1, padding=1)
        self.max_pool1d_5, self.avg_pool1d_5 = nn.MaxPool1d(5, stride=1, padding=2), nn.AvgPool1d(5, stride=1, padding=2)

    def forward(self, x):
        feature = []
        for i in range(self.part_num):
            x_part = x[:, :, :, i].permute(0, 2, 1).contiguous()
            mtb1_attention = self.conv_list_1[i](x_part).sigmoid()
            tmp_out_1 = self.max_pool1d_3(x_part) + self.avg_pool1d_3(x_part)
            out_1 = tmp_out_1 * mtb1_attention
            mtb2_attention = self.conv_list_2[i](x_part).sigmoid()
            tmp_out_2 = self.max_pool1d_5(x_part) + self.avg_pool1d_5(x_part)
            out_2 = tmp_out_2 * mtb2_attention
            out = (out_1 + out_2).max(-1)[0]
            feature.append(out.unsqueeze(0))
        return torch.cat(feature, dim=0)


class GaitPart(nn.Module):
    def __init__(self, channels=16, part_num=4, hidden=12):
        super().__init__()
        self.part_num = part_num
        self.layer1, self.layer2 = FConv(1, 8, 5, 1), FConv(8, channels, 3, 2)
        self.tfa = TemporalFeatureAggregator(channels, part_num)
        self.fc = nn.Parameter(nn.init.xavier_uniform_(torch.empty(part_num, channels, hidden)))

    def forward(self, silhouettes):
        n, s, h, w = silhouettes.size()
        x = silhouettes.reshape(n * s, 1, h, w)
        x = F.max_pool2d(self.layer1(x), 2)
        x = self.layer2(x)
        _, c, h, w = x.size()
        x = x.view(n * s, c, self.part_num, -1)
        x = x.mean(3) + x.max(3)[0]
        x = x.view(n, s, c, self.part_num)
        feature = self.tfa(x)
        return feature.matmul(self.fc)


def batch_all_triplet(feature, label, margin=0.2):
    mask = label[:, None] == label[None, :]
    dist = torch.cdist(feature, feature)
    n = label.size(0)
    hp_mask = (mask & ~torch.eye(n, dtype=torch.bool))[None, :, :, None]
    hn_mask = (~mask)[None, :, None, :]
    loss = F.relu(margin + dist[:, :, :, None] - dist[:, :, None, :])
    loss = loss * (hp_mask & hn_mask)
    nonzero = (loss > 0).sum((1, 2, 3)).clamp(min=1)
    return (loss.sum((1, 2, 3)) / nonzero).mean()


def build():
    return GaitPart()


def step(model):
    silhouettes = (torch.rand(8, 16, 32, 22) < 0.4).float()
    label = torch.arange(4).repeat_interleave(2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(2):
        loss = batch_all_triplet(model(silhouettes), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
