import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/weiyithu/NerfingMVS/issues/23'
CATEGORY = 'layer'
DESCRIPTION = 'A room from photographs: colours and depths of a whole view are rendered in normalised device coordinates and compared with the picture.'


class NeRF(nn.Module):
    def __init__(self, W=16):
        super().__init__()
        self.pts_linears = nn.ModuleList([nn.Linear(9, W), nn.Linear(W, W)])
        self.output_linear = nn.Linear(W, 4)

    def forward(self, pts):
        x = torch.cat([pts, torch.sin(pts), torch.cos(pts)], -1)
        for l in self.pts_linears:
            x = F.relu(l(x))
        return self.output_linear(x)


def get_rays(H, W, focal, c2w):
    i, j = torch.meshgrid(torch.linspace(0, W - 1, W), torch.linspace(0, H - 1, H), indexing='xy')
    dirs = torch.stack([(i - W * .5) / focal, -(j - H * .5) / focal, -torch.ones_like(i)], -1)
    rays_d = torch.sum(dirs[..., None, :] * c2w[:3, :3], -1)
    rays_o = c2w[:3, -1].expand(rays_d.shape)
    return rays_o, rays_d


def ndc_rays(H, W, focal, near, rays_o, rays_d):
    t = -(near + rays_o[..., 2]) / rays_d[..., 2]
    rays_o = rays_o + t[..., None] * rays_d
    o0 = -1. / (W / (2. * focal)) * rays_o[..., 0] / rays_o[..., 2]
    o1 = -1. / (H / (2. * focal)) * rays_o[..., 1] / rays_o[..., 2]
    o2 = 1. + 2. * near / rays_o[..., 2]
    d0 = -1. / (W / (2. * focal)) * (rays_d[..., 0] / rays_d[..., 2] - rays_o[..., 0] / rays_o[..., 2])
    d1 = -1. / (H / (2. * focal)) * (rays_d[..., 1] / rays_d[..., 2] - rays_o[..., 1] / rays_o[..., 2])
    d2 = -2. * near / rays_o[..., 2]
    return torch.stack([o0, o1, o2], -1), torch.stack([d0, d1, d2], -1)


def render_rays(ray_batch, network_fn, N_samples=4):
    rays_o, rays_d = ray_batch[:, 0:3], ray_batch[:, 3:6]
    z_vals = torch.linspace(0., 0.9, N_samples).expand(len(rays_o), N_samples)
    raw = network_fn(rays_o[..., None, :] + rays_d[..., None, :] * z_vals[..., :, None])
    weights = torch.softmax(raw[..., 3], -1)
    rgb_map = torch.sum(weights[..., None] * torch.sigmoid(raw[..., :3]), -2)
    return {'rgb_map': rgb_map, 'depth_map': torch.sum(weights * z_vals, -1)}


def render(H, W, focal, network_fn, chunk=1024 * 4, c2w=None, ndc=True, near=1.):
    rays_o, rays_d = get_rays(H, W, focal, c2w)
    rays_o_ori, rays_d_ori = rays_o, rays_d
    sh = rays_d.shape
    if ndc:
        rays_o, rays_d = ndc_rays(H, W, focal, near, rays_o, rays_d)
    rays = torch.cat([torch.reshape(rays_o, [-1, 3]), torch.reshape(rays_d, [-1, 3])], -1)
    ret = [render_rays(rays[i:i + chunk], network_fn) for i in range(0, len(rays), chunk)]
    all_ret = {k: torch.cat([r[k] for r in ret], 0) for k in ret[0]}
    for k in all_ret:
        all_ret[k] = torch.reshape(all_ret[k], list(sh[:-1]) + list(all_ret[k].shape[1:]))
    if ndc:
        all_ret['depth_map'] = -1 / rays_d_ori[:, 2] * (1 / (1 - all_ret['depth_map']) + rays_o_ori[:, 2])
    return all_ret['rgb_map'], all_ret['depth_map']


def build():
    torch.manual_seed(0)
    return NeRF()


def step(model):
    g = torch.Generator().manual_seed(1)
    H, W, focal = 41, 162, 150.
    c2w = torch.cat([torch.eye(3), torch.tensor([[0.1], [0.], [0.2]])], 1)
    image = torch.rand(H, W, 3, generator=g)
    depth_prior = torch.rand(H, W, generator=g) + 1
    rgb, depth = render(H, W, focal, model, c2w=c2w)
    return F.mse_loss(rgb, image) + 0.1 * F.l1_loss(depth, depth_prior)


# [:, 2] takes the third column of pixels, (H, 3); the third coordinate is [..., 2], (H, W)
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['function:getitem', 'function:add'], dim=1, got=3, wanted=162,
             hint_any=['...', '[:, 2]', 'getitem', 'index', 'slice'])
MENDED = [('-1 / rays_d_ori[:, 2] * (1 / (1 - all_ret[\'depth_map\']) + rays_o_ori[:, 2])',
           '-1 / rays_d_ori[..., 2] * (1 / (1 - all_ret[\'depth_map\']) + rays_o_ori[..., 2])')]
