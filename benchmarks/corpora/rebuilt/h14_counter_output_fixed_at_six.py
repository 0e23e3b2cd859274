import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/lyongo/NWPU-MOC/issues/8'
CATEGORY = 'loss'
DESCRIPTION = 'Counting of several kinds of objects from the air: the data set has 7 classes, the output layer of MCC is written for 6.'


class Bottleneck(nn.Module):
    def __init__(self, cin, cout, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, 3, stride=stride, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(cout)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


class SCAModule(nn.Module):
    def __init__(self, inn, out):
        super(SCAModule, self).__init__()
        base = inn // 4
        self.conv_sa = nn.Sequential(Bottleneck(inn, base), SAM(base), Bottleneck(base, base))
        self.conv_ca = nn.Sequential(Bottleneck(inn, base), CAM(base), Bottleneck(base, base))
        self.conv_cat = nn.Conv2d(base * 2, out, 1)

    def forward(self, x):
        return self.conv_cat(torch.cat((self.conv_sa(x), self.conv_ca(x)), 1))


class SAM(nn.Module):
    def __init__(self, channel):
        super().__init__()
        self.para_lambda = nn.Parameter(torch.zeros(1))
        self.query_conv = nn.Conv2d(channel, channel, 1)
        self.key_conv = nn.Conv2d(channel, channel, 1)
        self.value_conv = nn.Conv2d(channel, channel, 1)

    def forward(self, x):
        N, C, H, W = x.size()
        proj_query = self.query_conv(x).view(N, -1, W * H).permute(0, 2, 1)
        proj_key = self.key_conv(x).view(N, -1, W * H)
        attention = F.softmax(torch.bmm(proj_query, proj_key), -1)
        out = torch.bmm(self.value_conv(x).view(N, -1, W * H), attention.permute(0, 2, 1))
        return self.para_lambda * out.view(N, C, H, W) + x


class CAM(nn.Module):
    def __init__(self, in_dim):
        super().__init__()
        self.para_mu = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        N, C, H, W = x.size()
        flat = x.view(N, C, -1)
        attention = F.softmax(torch.bmm(flat, flat.permute(0, 2, 1)), -1)
        return self.para_mu * torch.bmm(attention, flat).view(N, C, H, W) + x


class MCC(nn.Module):
    def __init__(self, project_out=32):
        super().__init__()
        self.stages = nn.ModuleList([Bottleneck(3, 12, 2), Bottleneck(12, 24, 2), Bottleneck(24, 48, 2)])
        self.project = nn.Conv2d(48, project_out, 1)
        self.output_layer = SCAModule(project_out, 6)

    def forward(self, x):
        for stage in self.stages:
            x = stage(x)
        return F.relu(self.output_layer(self.project(x)))


class CrowdCounter(nn.Module):
    def __init__(self, net_name, num_classes):
        super().__init__()
        self.num_classes = num_classes
        ccnet = {'MCC': MCC}[net_name]
        self.CCN = ccnet()
        self.loss_mse_fn = nn.MSELoss()

    def forward(self, img, gt_map):
        density_map = self.CCN(img)
        self.loss_mse = self.loss_mse_fn(density_map, gt_map)
        return density_map


class MOC:
    names = ['person', 'boat', 'car', 'plane', 'container', 'truck', 'animal']

    def batch(self, size=4, side=64):
        g = torch.Generator().manual_seed(3)
        return torch.rand(size, 3, side, side, generator=g), torch.rand(size, len(self.names), side // 8, side // 8, generator=g)


def build():
    torch.manual_seed(0)
    return CrowdCounter('MCC', num_classes=len(MOC.names))


def step(model):
    img, gt_map = MOC().batch()
    model(img, gt_map)
    return model.loss_mse


TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['CCN.output_layer.conv_cat', 'CCN.output_layer', 'CCN'], dim=1, got=6, wanted=7,
             hint_any=['7', 'class', 'output_layer', 'conv_cat'])
MENDED = [('def __init__(self, project_out=32):', 'def __init__(self, num_class=6, project_out=32):'),
          ('SCAModule(project_out, 6)', 'SCAModule(project_out, num_class)'), ('self.CCN = ccnet()', 'self.CCN = ccnet(num_class=num_classes)')]
