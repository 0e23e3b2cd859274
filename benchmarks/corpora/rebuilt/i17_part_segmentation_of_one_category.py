import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/yanx27/Pointnet_Pointnet2_pytorch/issues/218 (150 channels against 135)'
CATEGORY = 'layer'
DESCRIPTION = 'PointNet++ part segmentation on own data of one category and three parts: the last propagation layer holds 150 = 128 + 6 + 16 channels, 16 for the one-hot category of ShapeNet.'


class SetAbstraction(nn.Module):
    def __init__(self, npoint, in_channel, out_channel, k=8):
        super().__init__()
        self.npoint, self.k = npoint, k
        self.mlp = nn.Sequential(nn.Conv2d(in_channel + 3, out_channel, 1), nn.BatchNorm2d(out_channel), nn.ReLU())

    def forward(self, xyz, points):
        pos = xyz.transpose(1, 2)
        centre = pos[:, :self.npoint]
        idx = torch.cdist(centre, pos).topk(self.k, largest=False).indices
        batch = torch.arange(len(pos))[:, None, None]
        grouped = torch.cat([pos[batch, idx] - centre.unsqueeze(2), points.transpose(1, 2)[batch, idx]], dim=-1)
        return centre.transpose(1, 2), self.mlp(grouped.permute(0, 3, 1, 2)).max(dim=3).values


class FeaturePropagation(nn.Module):
    def __init__(self, in_channel, mlp):
        super().__init__()
        self.mlp_convs = nn.ModuleList()
        self.mlp_bns = nn.ModuleList()
        for out in mlp:
            self.mlp_convs.append(nn.Conv1d(in_channel, out, 1))
            self.mlp_bns.append(nn.BatchNorm1d(out))
            in_channel = out

    def forward(self, xyz1, xyz2, points1, points2):
        d, idx = torch.cdist(xyz1.transpose(1, 2), xyz2.transpose(1, 2)).topk(3, largest=False)
        w = 1 / (d + 1e-8)
        w = w / w.sum(dim=2, keepdim=True)
        near = points2.transpose(1, 2)[torch.arange(len(idx))[:, None, None], idx]
        new_points = (near * w.unsqueeze(-1)).sum(dim=2).transpose(1, 2)
        if points1 is not None:
            new_points = torch.cat([points1, new_points], dim=1)
        for conv, bn in zip(self.mlp_convs, self.mlp_bns):
            new_points = F.relu(bn(conv(new_points)))
        return new_points


class PartSegMSG(nn.Module):
    def __init__(self, num_part):
        super().__init__()
        self.sa1 = SetAbstraction(32, 3, 64)
        self.sa2 = SetAbstraction(8, 64, 128)
        self.fp2 = FeaturePropagation(in_channel=192, mlp=[128])
        self.fp1 = FeaturePropagation(in_channel=150, mlp=[64, 64])
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Conv1d(64, num_part, 1))

    def forward(self, xyz, cls_label):
        l0_points = l0_xyz = xyz
        l1_xyz, l1_points = self.sa1(l0_xyz, l0_points)
        l2_xyz, l2_points = self.sa2(l1_xyz, l1_points)
        l1_points = self.fp2(l1_xyz, l2_xyz, l1_points, l2_points)
        cls_label_one_hot = cls_label.view(-1, cls_label.size(-1), 1).repeat(1, 1, xyz.size(2))
        l0_points = self.fp1(l0_xyz, l1_xyz, torch.cat([cls_label_one_hot, l0_xyz, l0_points], 1), l1_points)
        return F.log_softmax(self.head(l0_points), dim=1)


def to_categorical(y, num_classes):
    return torch.eye(num_classes)[y]


num_classes = 1
num_part = 3


def build():
    return PartSegMSG(num_part)


def step(model):
    points = torch.randn(4, 3, 128)
    label = torch.zeros(4, dtype=torch.long)
    target = torch.randint(0, num_part, (4, 128))
    seg_pred = model(points, to_categorical(label, num_classes))
    return F.nll_loss(seg_pred, target)


# real fix: in_channel=128 + 6 + num_classes
TRUTH = dict(raises='RuntimeError', at='module:fp1.mlp_convs.0', culprits=['fp1.mlp_convs.0', 'fp1', 'input'], dim=1, got=135, wanted=150,
             hint_any=['135', '150', 'categor', 'one-hot', 'one_hot'])
MENDED = [('in_channel=150', 'in_channel=134 + num_classes')]
