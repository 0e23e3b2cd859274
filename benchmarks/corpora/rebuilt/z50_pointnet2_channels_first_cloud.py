import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/yanx27/Pointnet_Pointnet2_pytorch/issues/15'
CATEGORY = 'layer'
DESCRIPTION = 'The test script of PointNet (3, N) is used for PointNet++, whose farthest point sampling takes clouds as (N, 3).'


def square_distance(src, dst):
    return ((src[:, :, None] - dst[:, None]) ** 2).sum(-1)


def index_points(points, idx):
    B = points.shape[0]
    view_shape = [B] + [1] * (idx.dim() - 1)
    return points[torch.arange(B).view(view_shape).expand_as(idx), idx]


def farthest_point_sample(xyz, npoint):
    B, N, C = xyz.shape
    centroids = torch.zeros(B, npoint, dtype=torch.long)
    distance = torch.ones(B, N) * 1e10
    farthest = torch.randint(0, N, (B,), dtype=torch.long)
    batch_indices = torch.arange(B, dtype=torch.long)
    for i in range(npoint):
        centroids[:, i] = farthest
        centroid = xyz[batch_indices, farthest, :].view(B, 1, 3)
        dist = torch.sum((xyz - centroid) ** 2, -1)
        mask = dist < distance
        distance[mask] = dist[mask]
        farthest = torch.max(distance, -1)[1]
    return centroids


def query_ball_point(radius, nsample, xyz, new_xyz):
    B, N, _ = xyz.shape
    S = new_xyz.shape[1]
    group_idx = torch.arange(N).view(1, 1, N).repeat(B, S, 1)
    group_idx[square_distance(new_xyz, xyz) > radius ** 2] = N
    group_idx = group_idx.sort(dim=-1)[0][:, :, :nsample]
    group_first = group_idx[:, :, :1].repeat(1, 1, nsample)
    return torch.where(group_idx == N, group_first, group_idx)


def sample_and_group(npoint, radius, nsample, xyz, points):
    B, N, C = xyz.shape
    new_xyz = index_points(xyz, farthest_point_sample(xyz, npoint))
    idx = query_ball_point(radius, nsample, xyz, new_xyz)
    grouped = index_points(xyz, idx) - new_xyz.view(B, npoint, 1, C)
    if points is not None:
        grouped = torch.cat([grouped, index_points(points, idx)], dim=-1)
    return new_xyz, grouped


def sample_and_group_all(xyz, points):
    grouped = xyz.unsqueeze(1) if points is None else torch.cat([xyz, points], -1).unsqueeze(1)
    return torch.zeros(xyz.shape[0], 1, 3), grouped


class PointNetSetAbstraction(nn.Module):
    def __init__(self, npoint, radius, nsample, in_channel, mlp, group_all):
        super().__init__()
        self.npoint, self.radius, self.nsample, self.group_all = npoint, radius, nsample, group_all
        self.mlp_convs, self.mlp_bns = nn.ModuleList(), nn.ModuleList()
        for out_channel in mlp:
            self.mlp_convs.append(nn.Conv2d(in_channel, out_channel, 1))
            self.mlp_bns.append(nn.BatchNorm2d(out_channel))
            in_channel = out_channel

    def forward(self, xyz, points):
        if self.group_all:
            new_xyz, new_points = sample_and_group_all(xyz, points)
        else:
            new_xyz, new_points = sample_and_group(self.npoint, self.radius, self.nsample, xyz, points)
        new_points = new_points.permute(0, 3, 2, 1)
        for conv, bn in zip(self.mlp_convs, self.mlp_bns):
            new_points = F.relu(bn(conv(new_points)))
        return new_xyz, torch.max(new_points, 2)[0].transpose(1, 2)


class PointNet2ClsSsg(nn.Module):
    def __init__(self, num_class=40):
        super().__init__()
        self.sa1 = PointNetSetAbstraction(32, 0.6, 8, 3, [16, 32], False)
        self.sa2 = PointNetSetAbstraction(None, None, None, 32 + 3, [32, 64], True)
        self.fc1, self.bn1 = nn.Linear(64, 32), nn.BatchNorm1d(32)
        self.fc2 = nn.Linear(32, num_class)

    def forward(self, xyz):
        l1_xyz, l1_points = self.sa1(xyz, None)
        _, l2_points = self.sa2(l1_xyz, l1_points)
        x = F.relu(self.bn1(self.fc1(l2_points.flatten(1))))
        return F.log_softmax(self.fc2(x), -1)


def pc_normalize(pc):
    pc = pc - pc.mean(1, keepdim=True)
    return pc / pc.norm(dim=-1).amax(1)[:, None, None]


def build():
    return PointNet2ClsSsg()


def step(model):
    points, target = pc_normalize(torch.randn(3, 128, 3)), torch.randint(0, 40, (3, 1))
    target = target[:, 0]
    points = points.transpose(2, 1)
    pred = model(points)
    return F.nll_loss(pred, target)


# real fix: give the model (batch, points, 3)
TRUTH = dict(raises='RuntimeError', at='function:view', culprits=['function:transpose', 'input'], dim=2, got=128, wanted=3,
             hint_any=['transpose', '128', 'layout', 'permute'])
MENDED = [('    points = points.transpose(2, 1)\n', '')]
