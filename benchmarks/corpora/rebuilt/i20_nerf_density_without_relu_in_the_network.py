import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/yenchenlin/nerf-pytorch/issues/95'
CATEGORY = 'correct'
DESCRIPTION = 'NeRF: density and colour leave the network without an activation (a reader misses the ReLU on alpha); raw2outputs applies ReLU and sigmoid, and its cumprod is made exclusive with a leading one.'


class Embedder:
    def __init__(self, num_freqs):
        self.freqs = 2.0 ** torch.linspace(0, num_freqs - 1, num_freqs)
        self.out_dim = 3 + 6 * num_freqs

    def __call__(self, x):
        scaled = x.unsqueeze(-2) * self.freqs.unsqueeze(-1)
        return torch.cat([x, torch.sin(scaled).flatten(-2), torch.cos(scaled).flatten(-2)], dim=-1)


class NeRF(nn.Module):
    def __init__(self, D=4, W=32, input_ch=27, input_ch_views=15, skips=(2,)):
        super().__init__()
        self.input_ch, self.input_ch_views, self.skips = input_ch, input_ch_views, skips
        self.pts_linears = nn.ModuleList([nn.Linear(input_ch, W)] +
                                         [nn.Linear(W + input_ch if i in skips else W, W) for i in range(D - 1)])
        self.views_linears = nn.ModuleList([nn.Linear(input_ch_views + W, W // 2)])
        self.feature_linear, self.alpha_linear, self.rgb_linear = nn.Linear(W, W), nn.Linear(W, 1), nn.Linear(W // 2, 3)

    def forward(self, x):
        input_pts, input_views = torch.split(x, [self.input_ch, self.input_ch_views], dim=-1)
        h = input_pts
        for i, layer in enumerate(self.pts_linears):
            h = F.relu(layer(h))
            if i in self.skips:
                h = torch.cat([input_pts, h], -1)
        alpha = self.alpha_linear(h)
        h = torch.cat([self.feature_linear(h), input_views], -1)
        for layer in self.views_linears:
            h = F.relu(layer(h))
        return torch.cat([self.rgb_linear(h), alpha], -1)


def raw2outputs(raw, z_vals, rays_d, white_bkgd=False):
    raw2alpha = lambda raw, dists, act_fn=F.relu: 1. - torch.exp(-act_fn(raw) * dists)
    dists = z_vals[..., 1:] - z_vals[..., :-1]
    dists = torch.cat([dists, torch.full_like(dists[..., :1], 1e10)], -1)
    dists = dists * torch.norm(rays_d[..., None, :], dim=-1)
    rgb = torch.sigmoid(raw[..., :3])
    alpha = raw2alpha(raw[..., 3], dists)
    transmittance = torch.cumprod(torch.cat([torch.ones(alpha.shape[0], 1), 1. - alpha + 1e-10], -1), -1)[:, :-1]
    weights = alpha * transmittance
    rgb_map = torch.sum(weights[..., None] * rgb, -2)
    acc_map = torch.sum(weights, -1)
    if white_bkgd:
        rgb_map = rgb_map + (1. - acc_map[..., None])
    return rgb_map


def render_rays(network, ray_batch, embed, embed_dirs, N_samples=16):
    rays_o, rays_d, near, far = ray_batch[:, 0:3], ray_batch[:, 3:6], ray_batch[:, 6:7], ray_batch[:, 7:8]
    viewdirs = F.normalize(rays_d, dim=-1)
    t_vals = torch.linspace(0., 1., N_samples)
    z_vals = near * (1. - t_vals) + far * t_vals
    mids = .5 * (z_vals[..., 1:] + z_vals[..., :-1])
    upper, lower = torch.cat([mids, z_vals[..., -1:]], -1), torch.cat([z_vals[..., :1], mids], -1)
    z_vals = lower + (upper - lower) * torch.rand_like(z_vals)
    pts = rays_o[..., None, :] + rays_d[..., None, :] * z_vals[..., :, None]
    dirs = viewdirs[:, None].expand(pts.shape)
    raw = network(torch.cat([embed(pts.reshape(-1, 3)), embed_dirs(dirs.reshape(-1, 3))], -1))
    return raw2outputs(raw.view(*pts.shape[:-1], 4), z_vals, rays_d, white_bkgd=True)


def build():
    return NeRF()


def step(model):
    rays_o = torch.tensor([[0., 0., 4.]]).expand(16, 3)
    rays_d = torch.randn(16, 3) * 0.1 + torch.tensor([0., 0., -1.])
    bounds = torch.tensor([[2., 6.]]).expand(16, 2)
    target = torch.rand(16, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)
    rgb = render_rays(model, torch.cat([rays_o, rays_d, bounds], -1), Embedder(4), Embedder(2))
    loss = torch.mean((rgb - target) ** 2)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
