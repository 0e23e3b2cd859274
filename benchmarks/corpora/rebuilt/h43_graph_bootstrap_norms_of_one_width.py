import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/Namkyeong/BGRL_Pytorch/issues/1 (256 elements instead of 512; fixed as a wrong width of the normalisation, the loop is rebuilt)'
CATEGORY = 'layer'
DESCRIPTION = 'Bootstrapped graph latents: every normalisation of the encoder is made for the width of the first layer, the second layer has half of it.'


class GCNConv(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.lin = nn.Linear(in_channels, out_channels, bias=False)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x, adj):
        return adj @ self.lin(x) + self.bias


class Encoder(nn.Module):
    def __init__(self, layer_config):
        super().__init__()
        self.stacked_gnn = nn.ModuleList([GCNConv(layer_config[i - 1], layer_config[i]) for i in range(1, len(layer_config))])
        self.stacked_bns = nn.ModuleList([nn.BatchNorm1d(layer_config[1], momentum=0.01) for _ in self.stacked_gnn])
        self.stacked_prelus = nn.ModuleList([nn.PReLU() for _ in self.stacked_gnn])

    def forward(self, x, adj):
        for gnn, bn, prelu in zip(self.stacked_gnn, self.stacked_bns, self.stacked_prelus):
            x = prelu(bn(gnn(x, adj)))
        return x


def loss_fn(x, y):
    x = F.normalize(x, dim=-1, p=2)
    y = F.normalize(y, dim=-1, p=2)
    return 2 - 2 * (x * y).sum(dim=-1)


class BGRL(nn.Module):
    def __init__(self, layer_config, pred_hid, moving_average_decay=0.99):
        super().__init__()
        self.student_encoder = Encoder(layer_config)
        self.teacher_encoder = copy.deepcopy(self.student_encoder)
        for p in self.teacher_encoder.parameters():
            p.requires_grad = False
        rep_dim = layer_config[-1]
        self.student_predictor = nn.Sequential(nn.Linear(rep_dim, pred_hid), nn.BatchNorm1d(pred_hid), nn.PReLU(), nn.Linear(pred_hid, rep_dim))

    def forward(self, x1, x2, adj_v1, adj_v2):
        v1_student = self.student_encoder(x1, adj_v1)
        v2_student = self.student_encoder(x2, adj_v2)
        v1_pred = self.student_predictor(v1_student)
        v2_pred = self.student_predictor(v2_student)
        with torch.no_grad():
            v1_teacher = self.teacher_encoder(x1, adj_v1)
            v2_teacher = self.teacher_encoder(x2, adj_v2)
        return (loss_fn(v1_pred, v2_teacher) + loss_fn(v2_pred, v1_teacher)).mean()


def augment(x, adj, p_feat, p_edge):
    x = x * (torch.rand(1, x.size(1)) > p_feat)
    keep = (torch.rand_like(adj) > p_edge).float()
    adj = adj * torch.triu(keep, 1) + (adj * torch.triu(keep, 1)).t() + torch.eye(adj.size(0))
    degree = adj.sum(1).rsqrt()
    return x, degree[:, None] * adj * degree[None, :]


def build():
    return BGRL([100, 64, 32], pred_hid=64)


def step(model):
    x = torch.rand(100, 100)
    adj = (torch.rand(100, 100) < 0.05).float().triu(1)
    adj = adj + adj.t()
    x1, adj1 = augment(x, adj, 0.2, 0.3)
    x2, adj2 = augment(x, adj, 0.1, 0.4)
    return model(x1, x2, adj1, adj2)


TRUTH = dict(raises='RuntimeError', at='module:student_encoder.stacked_bns.1', culprits=['student_encoder.stacked_bns.1'], dim=1, got=32, wanted=64,
             hint_any=['num_features', '32', 'batchnorm'])
MENDED = [('nn.ModuleList([nn.BatchNorm1d(layer_config[1], momentum=0.01) for _ in self.stacked_gnn])',
           'nn.ModuleList([nn.BatchNorm1d(width, momentum=0.01) for width in layer_config[1:]])')]
