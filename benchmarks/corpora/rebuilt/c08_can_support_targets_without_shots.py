import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/RL-VIG/LibFewShot/issues/74'
CATEGORY = 'layer'
DESCRIPTION = 'Cross attention network, 5-way 5-shot: support labels are reshaped to (episodes, ways), right for one shot only.'


class ConvBlock(nn.Module):
    def __init__(self, inside, outside, k):
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, k)
        self.bn = nn.BatchNorm2d(outside)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


class CAM(nn.Module):
    """Cross attention between class maps and query maps."""

    def __init__(self, hw):
        super().__init__()
        self.conv1 = ConvBlock(hw, 6, 1)
        self.conv2 = nn.Conv2d(6, hw, 1)

    def get_attention(self, a):
        w = self.conv2(self.conv1(a.mean(2)[..., None, None])).flatten(1)
        return F.softmax((a * w.unsqueeze(1)).mean(-1) / 0.025, dim=-1) + 1

    def forward(self, f1, f2):
        n1, c, h, w = f1.shape
        n2 = f2.shape[0]
        f1n, f2n = F.normalize(f1.flatten(2), dim=1), F.normalize(f2.flatten(2), dim=1)
        corr = torch.einsum('icm,jcn->ijmn', f1n, f2n).flatten(0, 1)
        a1 = self.get_attention(corr).view(n1, n2, 1, h, w)
        a2 = self.get_attention(corr.transpose(1, 2)).view(n1, n2, 1, h, w)
        return f1.unsqueeze(1) * a1, f2.unsqueeze(0) * a2


class CAN(nn.Module):
    def __init__(self, way_num=5, shot_num=5, query_num=3, num_class=16, scale=7.0):
        super().__init__()
        self.way_num, self.shot_num, self.query_num, self.scale = way_num, shot_num, query_num, scale
        self.emb_func = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1),
                                      nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2))
        self.cam = CAM(hw=9)
        self.classifier = nn.Conv2d(24, num_class, 1)

    def split_by_episode(self, feat, episode_size):
        feat = feat.view(episode_size, self.way_num, self.shot_num + self.query_num, *feat.shape[1:])
        return feat[:, :, :self.shot_num].flatten(1, 2), feat[:, :, self.shot_num:].flatten(1, 2)

    def class_maps(self, support, support_targets):
        one_hot = F.one_hot(support_targets, self.way_num).float()
        maps = one_hot.t() @ support.flatten(1)
        return (maps / one_hot.sum(0).unsqueeze(1)).view(self.way_num, *support.shape[1:])

    def set_forward_loss(self, batch):
        images, global_targets = batch
        episode_size = images.size(0) // (self.way_num * (self.shot_num + self.query_num))
        feat = self.emb_func(images)
        support, query = self.split_by_episode(feat, episode_size)
        _, query_global = self.split_by_episode(global_targets, episode_size)
        ways = torch.arange(self.way_num).repeat(episode_size, 1)
        support_targets = ways.repeat_interleave(self.shot_num, dim=1)
        query_targets = ways.repeat_interleave(self.query_num, dim=1)
        support_targets = support_targets.reshape(episode_size, self.way_num).contiguous()
        loss = 0.
        for i in range(episode_size):
            prototypes = self.class_maps(support[i], support_targets[i])
            p, q = self.cam(prototypes, query[i])
            p = F.normalize(p.mean((3, 4), keepdim=True), dim=2)
            scores = self.scale * (p * F.normalize(q, dim=2)).sum(2).permute(1, 0, 2, 3)
            n, _, h, w = scores.shape
            loss1 = F.cross_entropy(scores, query_targets[i].view(n, 1, 1).expand(n, h, w))
            logits = self.classifier(q[query_targets[i], torch.arange(n)])
            loss2 = F.cross_entropy(logits, query_global[i].view(n, 1, 1).expand(n, h, w))
            loss = loss + loss2 + 0.5 * loss1
        return loss / episode_size


def build():
    return CAN()


def step(model):
    n = model.way_num * (model.shot_num + model.query_num)
    images = torch.randn(n, 3, 28, 28)
    global_targets = torch.randperm(16)[:model.way_num].repeat_interleave(model.shot_num + model.query_num)
    return model.set_forward_loss((images, global_targets))


# real fix: support_targets.reshape(episode_size, self.way_num * self.shot_num)
# offending tensor: support_targets (1, 25)
TRUTH = dict(raises='RuntimeError', at='function:reshape', culprits=['function:reshape', '', 'function:repeat_interleave'], dim=None, got=25, wanted=None,
             hint_any=['25', 'shot', '-1', 'reshape'])
MENDED = [('support_targets.reshape(episode_size, self.way_num)', 'support_targets.reshape(episode_size, self.way_num * self.shot_num)')]
