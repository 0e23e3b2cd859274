import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/cassiePython/CLIPNeRF/issues/15'
CATEGORY = 'layer'
DESCRIPTION = 'A scene as a field of colour and density; a rendered patch is compared with a sentence in a joint embedding, so that text changes the colours.'


class NeRF(nn.Module):
    def __init__(self, W=32, input_ch=15):
        super().__init__()
        self.pts_linears = nn.ModuleList([nn.Linear(input_ch, W), nn.Linear(W, W)])
        self.alpha_linear = nn.Linear(W, 1)
        self.rgb_linear = nn.Linear(W, 3)

    def forward(self, x):
        for l in self.pts_linears:
            x = F.relu(l(x))
        return torch.cat([self.rgb_linear(x), self.alpha_linear(x)], -1)


class ClipImageEncoder(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 16, stride=16, bias=False)
        self.proj = nn.Linear(16, dim)

    def forward(self, image):
        x = self.conv1(image).flatten(2).mean(-1)
        return F.normalize(self.proj(x), dim=-1)


class Scene(nn.Module):
    def __init__(self):
        super().__init__()
        self.nerf = NeRF()
        self.clip = ClipImageEncoder().requires_grad_(False)


def embed(x):
    return torch.cat([x, torch.sin(x), torch.cos(x), torch.sin(2 * x), torch.cos(2 * x)], -1)


def raw2outputs(raw, z_vals, rays_d):
    dists = z_vals[..., 1:] - z_vals[..., :-1]
    dists = torch.cat([dists, torch.full_like(dists[..., :1], 1e10)], -1) * torch.norm(rays_d[..., None, :], dim=-1)
    rgb = torch.sigmoid(raw[..., :3])
    alpha = 1. - torch.exp(-F.relu(raw[..., 3]) * dists)
    transmittance = torch.cumprod(torch.cat([torch.ones(alpha.shape[0], 1), 1. - alpha + 1e-10], -1), -1)[:, :-1]
    weights = alpha * transmittance
    return torch.sum(weights[..., None] * rgb, -2)


def render(rays, network_fn, N_samples=8, near=2., far=6.):
    rays_o, rays_d = rays
    z_vals = torch.linspace(near, far, N_samples).expand(rays_o.shape[0], N_samples)
    pts = rays_o[..., None, :] + rays_d[..., None, :] * z_vals[..., :, None]
    raw = network_fn(embed(pts))
    return raw2outputs(raw, z_vals, rays_d)


def get_rays(H, W, focal):
    i, j = torch.meshgrid(torch.arange(W).float(), torch.arange(H).float(), indexing='xy')
    dirs = torch.stack([(i - W * .5) / focal, -(j - H * .5) / focal, -torch.ones_like(i)], -1)
    return torch.zeros(H, W, 3), dirs


def build():
    torch.manual_seed(0)
    return Scene()


def step(model):
    np.random.seed(0)
    H, W, focal = 96, 120, 100.
    N_rand = 1024
    sample_scale = 60

    rays_o, rays_d = get_rays(H, W, focal)
    coords = torch.stack(torch.meshgrid(torch.arange(0, H), torch.arange(0, W), indexing='ij'), -1).reshape(-1, 2)
    select_inds = np.sort(np.random.choice(coords.shape[0], size=[N_rand], replace=False))
    select_coords = coords[select_inds].long()
    batch_rays = torch.stack([rays_o[select_coords[:, 0], select_coords[:, 1]], rays_d[select_coords[:, 0], select_coords[:, 1]]], 0)

    rgb = render(batch_rays, model.nerf)
    rgb_img = rgb.view(sample_scale, sample_scale, -1)
    rgb_img = F.interpolate(rgb_img.permute(2, 0, 1).unsqueeze(0), (64, 64), mode='bilinear')
    text_features = F.normalize(torch.ones(1, 32), dim=-1)
    return 1 - (model.clip(rgb_img) * text_features).sum()


# answer in the thread: the number of sampled rays has to be patch-size * patch-size
TRUTH = dict(raises='RuntimeError', at='function:view', culprits=['function:view', 'function:getitem', 'input'], dim=0, got=1024, wanted=3600,
             hint_any=['3600', '1024', 'rays', 'sample_scale', 'n_rand', '60'])
MENDED = [('    N_rand = 1024\n    sample_scale = 60\n', '    sample_scale = 60\n    N_rand = sample_scale * sample_scale\n')]
