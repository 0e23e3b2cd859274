import torch
import torch.nn as nn

SOURCE = 'https://github.com/zycliao/TailorNet_dataset/issues/8'
CATEGORY = 'layer'
DESCRIPTION = 'Body shape vectors with 300 components are blended with shape directions of 10.'

NUM_VERTS, NUM_BETAS = 120, 10


def load_shapes(n):
    """style_shape/betas.npy: one row a subject"""
    betas = torch.zeros(n, 300)
    betas[:, :10] = torch.randn(n, 10)
    return betas


class SMPLShape(nn.Module):
    def __init__(self, num_verts=NUM_VERTS, num_betas=NUM_BETAS):
        super().__init__()
        self.register_buffer('v_template', torch.randn(num_verts, 3))
        self.register_buffer('shapedirs', torch.randn(num_verts, 3, num_betas) * 0.03)
        self.register_buffer('J_regressor', torch.softmax(torch.randn(24, num_verts), dim=1))

    def forward(self, betas):
        n_verts = self.v_template.shape[0]
        dirs = self.shapedirs.reshape(n_verts * 3, -1).t()
        v_shaped = self.v_template + torch.matmul(betas, dirs).view(-1, n_verts, 3)
        joints = torch.einsum('jv,bvc->bjc', self.J_regressor, v_shaped)
        return v_shaped, joints


class GarmentRegressor(nn.Module):
    def __init__(self, hidden=64, style_dim=4):
        super().__init__()
        self.smpl = SMPLShape()
        self.style = nn.Linear(style_dim, hidden)
        self.body = nn.Linear(24 * 3, hidden)
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(hidden, NUM_VERTS * 3))

    def forward(self, betas, gamma):
        verts, joints = self.smpl(betas)
        feat = self.body(joints.flatten(1)) + self.style(gamma)
        return verts + self.head(feat).view(-1, NUM_VERTS, 3)


def build():
    torch.manual_seed(0)
    return GarmentRegressor()


def step(model):
    beta = load_shapes(20)
    gamma = torch.randn(20, 4)
    garment = torch.randn(20, NUM_VERTS, 3)
    pred = model(beta, gamma)
    return (pred - garment).abs().mean()


# real fix: only the first 10 components, beta[:, :10]
TRUTH = dict(raises='RuntimeError', at='function:matmul', culprits=['input'], dim=1, got=300, wanted=10,
             hint_any=['300', 'input', 'component', ':10', 'slice'])
MENDED = [('    beta = load_shapes(20)\n', '    beta = load_shapes(20)[:, :10]\n')]
