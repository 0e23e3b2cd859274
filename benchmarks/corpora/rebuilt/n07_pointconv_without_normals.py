import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/DylanWusee/pointconv_pytorch/issues/12'
CATEGORY = 'layer'
DESCRIPTION = 'PointConv classifier trained on coordinates only; with normals the same network works.'


def index_points(points, idx):
    batch = torch.arange(points.shape[0]).view(-1, *[1] * (idx.dim() - 1)).expand_as(idx)
    return points[batch, idx, :]


def sample_and_group(npoint, nsample, xyz, points):
    new_xyz = xyz[:, :npoint]
    idx = torch.cdist(new_xyz, xyz).topk(nsample, dim=-1, largest=False).indices
    grouped_xyz_norm = index_points(xyz, idx) - new_xyz.unsqueeze(2)
    if points is not None:
        new_points = torch.cat([grouped_xyz_norm, index_points(points, idx)], dim=-1)
    else:
        new_points = grouped_xyz_norm
    return new_xyz, new_points, grouped_xyz_norm


def sample_and_group_all(xyz, points):
    new_xyz = xyz.mean(dim=1, keepdim=True)
    grouped_xyz = xyz.unsqueeze(1) - new_xyz.unsqueeze(2)
    new_points = torch.cat([grouped_xyz, points.unsqueeze(1)], dim=-1) if points is not None else grouped_xyz
    return new_xyz, new_points, grouped_xyz


class WeightNet(nn.Module):
    def __init__(self, in_channel, out_channel, hidden=8):
        super().__init__()
        self.mlp_convs = nn.ModuleList([nn.Conv2d(in_channel, hidden, 1), nn.Conv2d(hidden, out_channel, 1)])

    def forward(self, localized_xyz):
        weights = localized_xyz
        for conv in self.mlp_convs:
            weights = F.relu(conv(weights))
        return weights


class PointConvSetAbstraction(nn.Module):
    def __init__(self, npoint, nsample, in_channel, mlp, group_all):
        super().__init__()
        self.npoint, self.nsample, self.group_all = npoint, nsample, group_all
        self.mlp_convs, self.mlp_bns = nn.ModuleList(), nn.ModuleList()
        last_channel = in_channel
        for out_channel in mlp:
            self.mlp_convs.append(nn.Conv2d(last_channel, out_channel, 1))
            self.mlp_bns.append(nn.BatchNorm2d(out_channel))
            last_channel = out_channel
        self.weightnet = WeightNet(3, 4)
        self.linear = nn.Linear(4 * mlp[-1], mlp[-1])

    def forward(self, xyz, points):
        B = xyz.shape[0]
        xyz = xyz.permute(0, 2, 1)
        if points is not None:
            points = points.permute(0, 2, 1)
        if self.group_all:
            new_xyz, new_points, grouped_xyz_norm = sample_and_group_all(xyz, points)
        else:
            new_xyz, new_points, grouped_xyz_norm = sample_and_group(self.npoint, self.nsample, xyz, points)
        new_points = new_points.permute(0, 3, 2, 1)                  # [B, C + D, nsample, npoint]
        for conv, bn in zip(self.mlp_convs, self.mlp_bns):
            new_points = F.relu(bn(conv(new_points)))
        weights = self.weightnet(grouped_xyz_norm.permute(0, 3, 2, 1))
        new_points = torch.matmul(new_points.permute(0, 3, 1, 2), weights.permute(0, 3, 2, 1))
        new_points = F.relu(self.linear(new_points.reshape(B, new_xyz.shape[1], -1)))
        return new_xyz.permute(0, 2, 1), new_points.permute(0, 2, 1)


class PointConvClsSsg(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        feature_dim = 3
        self.sa1 = PointConvSetAbstraction(32, 8, in_channel=feature_dim + 3, mlp=[16, 16, 32], group_all=False)
        self.sa2 = PointConvSetAbstraction(8, 8, in_channel=32 + 3, mlp=[32, 32, 64], group_all=False)
        self.sa3 = PointConvSetAbstraction(1, None, in_channel=64 + 3, mlp=[64, 128], group_all=True)
        self.fc1 = nn.Linear(128, 64)
        self.bn1 = nn.BatchNorm1d(64)
        self.fc3 = nn.Linear(64, num_classes)

    def forward(self, xyz, feat):
        l1_xyz, l1_points = self.sa1(xyz, feat)
        l2_xyz, l2_points = self.sa2(l1_xyz, l1_points)
        _, l3_points = self.sa3(l2_xyz, l2_points)
        x = F.relu(self.bn1(self.fc1(l3_points.view(xyz.shape[0], -1))))
        return F.log_softmax(self.fc3(x), -1)


def build():
    return PointConvClsSsg()


def step(model, normal=False):
    points, target = torch.randn(6, 128, 6), torch.randint(0, 10, (6,))
    points = points.transpose(2, 1)
    if normal:
        pred = model(points[:, :3, :], points[:, 3:, :])
    else:
        pred = model(points[:, :3, :], None)
    return F.nll_loss(pred, target)


# real fix: in_channel=feature_dim in sa1 when there are no normals
# offending tensor: new_points (6, 3, 8, 32) in a convolution for 6 channels
TRUTH = dict(raises='RuntimeError', at='module:sa1.mlp_convs.0', culprits=['sa1.mlp_convs.0', 'sa1'], dim=1, got=3, wanted=6,
             hint_any=['channel', 'in_channel', 'normal', 'feature_dim'])
MENDED = [('in_channel=feature_dim + 3', 'in_channel=feature_dim')]
