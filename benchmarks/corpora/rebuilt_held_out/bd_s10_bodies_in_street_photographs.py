import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import ConcatDataset, DataLoader, Dataset

SOURCE = ('https://github.com/g-fiche/VQ-HPS/issues/6 ([32, 52, 2] against [32, 24, 2]; issue 7 there: the projection loss is calculated apart for each format of '
          'keypoints; that the regressor of SMPL-H was loaded for SMPL is read from the 52 joints)')
CATEGORY = 'loss'
DESCRIPTION = ('Human meshes from images with two formats of keypoints: the regressor that should give the 24 SMPL joints of 3DPW is read from the SMPL-H body '
               'model, which has 52 joints.')

BODY_MODELS = {'SMPL_NEUTRAL': 24, 'SMPLH_NEUTRAL': 52}


def load_body_model(name, n_vertices):
    g = torch.Generator().manual_seed(len(name))
    weights = torch.rand(BODY_MODELS[name], n_vertices, generator=g)
    return {'J_regressor': weights / weights.sum(1, keepdim=True), 'v_template': torch.randn(n_vertices, 3, generator=g) * 0.3}


class DatasetHMR(Dataset):
    def __init__(self, dataset, n, n_vertices, max_joints=24):
        g = torch.Generator().manual_seed(n)
        self.is_3dpw = dataset == '3DPW'
        n_joints = 24 if self.is_3dpw else 17
        self.img = torch.rand(n, 3, 32, 24, generator=g)
        self.j2d = torch.zeros(n, max_joints, 3)
        self.j2d[:, :n_joints] = torch.rand(n, n_joints, 3, generator=g)
        self.mesh = torch.randn(n, n_vertices, 3, generator=g) * 0.3
        self.rotation = torch.randn(n, 6, generator=g)

    def __len__(self):
        return len(self.img)

    def __getitem__(self, i):
        return {'img': self.img[i], 'j2d': self.j2d[i], 'mesh': self.mesh[i], 'rotation': self.rotation[i], 'is_3dpw': self.is_3dpw}


class Backbone(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, dim, 3, 2, 1), nn.ReLU())

    def forward(self, x):
        return self.net(x).flatten(2).transpose(1, 2)


class MeshRegressor(nn.Module):
    def __init__(self, n_vertices, n_codes=52, dim=32):
        super().__init__()
        self.backbone = Backbone(dim)
        self.queries = nn.Parameter(torch.randn(1, n_codes + 2, dim))
        self.decoder = nn.TransformerDecoderLayer(dim, 4, 64, batch_first=True)
        self.mesh_decoder = nn.Linear(n_codes * dim, n_vertices * 3)
        self.cam_head = nn.Linear(dim, 3)
        self.rot_head = nn.Linear(dim, 6)
        smpl = load_body_model('SMPLH_NEUTRAL', n_vertices)
        self.register_buffer('joints_reg_smpl', smpl['J_regressor'])
        self.register_buffer('tpose', smpl['v_template'])
        g = torch.Generator().manual_seed(17)
        self.register_buffer('joints_reg', torch.rand(17, n_vertices, generator=g).softmax(1))

    def forward(self, img):
        feats = self.backbone(img)
        x = self.decoder(self.queries.expand(img.size(0), -1, -1), feats)
        offsets = self.mesh_decoder(x[:, :-2].flatten(1)).view(img.size(0), -1, 3)
        return {'pred_mesh': self.tpose + 0.1 * offsets, 'pred_cam': self.cam_head(x[:, -2]), 'pred_rot': self.rot_head(x[:, -1])}


def weak_perspective(joints, cam):
    return (1 + cam[:, None, :1]) * (joints[..., :2] + cam[:, None, 1:])


def reprojection_loss(gt_2d, pred_mesh, pred_cam, joints_reg):
    pred_joints = torch.matmul(joints_reg, pred_mesh)
    pred_2d = weak_perspective(pred_joints, pred_cam)
    return F.l1_loss(pred_2d, gt_2d)


def reprojection_loss_conf(gt_2d, pred_mesh, pred_cam, joints_reg):
    conf = gt_2d[:, :joints_reg.size(0), 2:]
    pred_2d = weak_perspective(torch.matmul(joints_reg, pred_mesh), pred_cam)
    return (conf * (pred_2d - gt_2d[:, :joints_reg.size(0), :2]).abs()).mean()


def build():
    torch.manual_seed(0)
    return MeshRegressor(n_vertices=60)


def step(model):
    torch.manual_seed(1)
    data = ConcatDataset([DatasetHMR('3DPW', 8, 60), DatasetHMR('COCO', 6, 60)])
    batch = next(iter(DataLoader(data, batch_size=14, shuffle=True)))
    out = model(batch['img'])
    loss = F.mse_loss(out['pred_mesh'], batch['mesh']) + F.mse_loss(out['pred_rot'], batch['rotation'])
    is_3dpw = batch['is_3dpw']
    reproj_loss = 0
    if (~is_3dpw).any():
        reproj_loss = reproj_loss + reprojection_loss_conf(batch['j2d'][~is_3dpw], out['pred_mesh'][~is_3dpw], out['pred_cam'][~is_3dpw], model.joints_reg)
    if is_3dpw.any():
        reproj_loss = reproj_loss + reprojection_loss(batch['j2d'][is_3dpw][:, :, :2], out['pred_mesh'][is_3dpw], out['pred_cam'][is_3dpw], model.joints_reg_smpl)
    return loss + reproj_loss


# fix: the J_regressor of SMPL (24 joints)
# offending tensor: joints_reg_smpl (52, 60), hence pred_2d (8, 52, 2) beside gt_2d (8, 24, 2)
TRUTH = dict(raises='RuntimeError', at='loss:l1_loss', culprits=['function:matmul', 'loss:l1_loss'], dim=1, got=52, wanted=24,
             hint_any=['joint', 'regressor', '52', '24', 'matmul'])
MENDED = [("load_body_model('SMPLH_NEUTRAL'", "load_body_model('SMPL_NEUTRAL'")]
