import torch
import torch.nn as nn
import torch.nn.functional as F
from types import SimpleNamespace

SOURCE = 'https://github.com/DylanWusee/pointconv_pytorch/issues/12'
CATEGORY = 'layer'
DESCRIPTION = 'PointConv trained without normals: points[:, 3:] is empty, the groups hold 3 numbers a point, the first layer was sized for feature_dim + 3 = 6.'


def square_distance(src, dst):
    return torch.cdist(src, dst) ** 2


def index_points(points, idx):
    b = torch.arange(points.shape[0]).view(-1, *[1] * (idx.dim() - 1))
    return points[b, idx]


def farthest_point_sample(xyz, npoint):
    B, N, _ = xyz.shape
    chosen = torch.zeros(B, npoint, dtype=torch.long)
    distance = torch.full((B, N), 1e10)
    farthest = torch.zeros(B, dtype=torch.long)
    for i in range(npoint):
        chosen[:, i] = farthest
        centroid = xyz[torch.arange(B), farthest].unsqueeze(1)
        distance = torch.min(distance, ((xyz - centroid) ** 2).sum(-1))
        farthest = distance.max(-1)[1]
    return chosen


def group(nsample, xyz, new_xyz, points):
    idx = square_distance(new_xyz, xyz).topk(nsample, dim=-1, largest=False)[1]
    grouped_xyz = index_points(xyz, idx) - new_xyz.unsqueeze(2)
    new_points = torch.cat([grouped_xyz, index_points(points, idx)], dim=-1)
    return new_points, grouped_xyz


class WeightNet(nn.Module):
    def __init__(self, in_channel, out_channel, hidden_unit=(8, 8)):
        super().__init__()
        sizes = [in_channel, *hidden_unit, out_channel]
        self.mlp_convs = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(sizes, sizes[1:]))
        self.mlp_bns = nn.ModuleList(nn.BatchNorm2d(b) for b in sizes[1:])

    def forward(self, weights):
        for conv, bn in zip(self.mlp_convs, self.mlp_bns):
            weights = F.relu(bn(conv(weights)))
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
        self.weightnet = WeightNet(3, 16)
        self.linear = nn.Linear(16 * mlp[-1], mlp[-1])
        self.bn_linear = nn.BatchNorm1d(mlp[-1])

    def forward(self, xyz, points):
        B = xyz.shape[0]
        xyz, points = xyz.permute(0, 2, 1), points.permute(0, 2, 1)
        if self.group_all:
            new_xyz = xyz.mean(dim=1, keepdim=True)
            grouped_xyz = (xyz - new_xyz).unsqueeze(1)
            new_points = torch.cat([grouped_xyz, points.unsqueeze(1)], dim=-1)
        else:
            new_xyz = index_points(xyz, farthest_point_sample(xyz, self.npoint))
            new_points, grouped_xyz = group(self.nsample, xyz, new_xyz, points)
        new_points = new_points.permute(0, 3, 2, 1)
        for conv, bn in zip(self.mlp_convs, self.mlp_bns):
            new_points = F.relu(bn(conv(new_points)))
        weights = self.weightnet(grouped_xyz.permute(0, 3, 2, 1))
        new_points = torch.matmul(new_points.permute(0, 3, 1, 2), weights.permute(0, 3, 2, 1)).reshape(B, new_xyz.shape[1], -1)
        new_points = self.bn_linear(self.linear(new_points).permute(0, 2, 1))
        return new_xyz.permute(0, 2, 1), F.relu(new_points)


class PointConvClsSsg(nn.Module):
    def __init__(self, num_classes=40, feature_dim=3):
        super().__init__()
        self.sa1 = PointConvSetAbstraction(npoint=64, nsample=16, in_channel=feature_dim + 3, mlp=[16, 16, 32], group_all=False)
        self.sa2 = PointConvSetAbstraction(npoint=16, nsample=16, in_channel=32 + 3, mlp=[32, 32, 64], group_all=False)
        self.sa3 = PointConvSetAbstraction(npoint=1, nsample=None, in_channel=64 + 3, mlp=[64, 64, 128], group_all=True)
        self.fc1 = nn.Linear(128, 64)
        self.bn1 = nn.BatchNorm1d(64)
        self.drop1 = nn.Dropout(0.7)
        self.fc3 = nn.Linear(64, num_classes)

    def forward(self, xyz, feat):
        B = xyz.shape[0]
        l1_xyz, l1_points = self.sa1(xyz, feat)
        l2_xyz, l2_points = self.sa2(l1_xyz, l1_points)
        l3_xyz, l3_points = self.sa3(l2_xyz, l2_points)
        x = self.drop1(F.relu(self.bn1(self.fc1(l3_points.view(B, 128)))))
        return F.log_softmax(self.fc3(x), -1)


ARGS = SimpleNamespace(batch_size=4, num_point=128, num_workers=0, normal=False, num_class=40)


class ModelNetDataLoader:
    def __init__(self, args):
        self.args = args

    def __iter__(self):
        a = self.args
        for _ in range(1):
            point_set = torch.randn(a.batch_size, a.num_point, 6)
            if not a.normal:
                point_set = point_set[:, :, 0:3]
            yield point_set, torch.randint(0, a.num_class, (a.batch_size, 1))


def build():
    return PointConvClsSsg(ARGS.num_class)


def step(model):
    for points, target in ModelNetDataLoader(ARGS):
        target = target[:, 0]
        points = points.transpose(2, 1)
        pred = model(points[:, :3, :], points[:, 3:, :])
        loss = F.nll_loss(pred, target.long())
    return loss


# real fix: without normals the first layer takes the three coordinates alone: feature_dim=0 (the answer: in_channel=feature_dim)
# offending tensor: new_points (4, 3, 16, 64)
TRUTH = dict(raises='RuntimeError', at='module:sa1.mlp_convs.0', culprits=['sa1.mlp_convs.0', 'input', 'sa1', 'function:cat'], dim=1, got=3, wanted=6,
             hint_any=['3', 'in_channel', 'normal', 'conv2d(3'])
MENDED = [('PointConvClsSsg(ARGS.num_class)', 'PointConvClsSsg(ARGS.num_class, feature_dim=3 if ARGS.normal else 0)')]
