import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/B1ueber2y/DIST-Renderer/issues/4 (the same in https://github.com/NeuroDiffGym/neurodiffeq/issues/44)'
CATEGORY = 'layer'
DESCRIPTION = 'The gradient of a network with one output with respect to 3-D points: grad_outputs is made like the points, not like the output.'


class FourierFeatures(nn.Module):
    def __init__(self, dim, frequencies):
        super().__init__()
        self.register_buffer('bands', 2.0 ** torch.arange(frequencies) * torch.pi)
        self.out_features = dim * (1 + 2 * frequencies)

    def forward(self, x):
        phase = (x[..., None] * self.bands).flatten(-2)
        return torch.cat([x, phase.sin(), phase.cos()], -1)


class Decoder(nn.Module):
    """DeepSDF decoder: latent code and point to signed distance."""

    def __init__(self, latent_size=16, dims=(48, 48, 48), latent_in=2):
        super().__init__()
        self.encode = FourierFeatures(3, 2)
        width = self.encode.out_features + latent_size
        self.latent_in = latent_in
        sizes = [width] + list(dims) + [1]
        self.lins = nn.ModuleList(
            nn.Linear(sizes[i] + (width if i == latent_in else 0), sizes[i + 1]) for i in range(len(sizes) - 1))

    def forward(self, latent, xyz):
        inputs = x = torch.cat([latent.expand(len(xyz), -1), self.encode(xyz)], -1)
        for i, lin in enumerate(self.lins):
            if i == self.latent_in:
                x = torch.cat([x, inputs], -1)
            x = lin(x)
            if i < len(self.lins) - 1:
                x = F.softplus(x, beta=100)
        return x


def decode_sdf(decoder, latent, points):
    return decoder(latent, points)


def decode_sdf_gradient(decoder, latent, points, max_batch=64):
    sdfs, normals = [], []
    for points_batch in points.split(max_batch):
        points_batch = points_batch.detach().requires_grad_(True)
        sdf = decode_sdf(decoder, latent, points_batch)
        grad_tensor = torch.autograd.grad(outputs=sdf, inputs=points_batch, grad_outputs=torch.ones_like(points_batch),
                                          create_graph=True, retain_graph=True)
        sdfs.append(sdf)
        normals.append(grad_tensor[0])
    return torch.cat(sdfs), torch.cat(normals)


class EikonalSolver(nn.Module):
    """Distance to a surface as the solution of |grad u| = 1, u = 0 on the surface."""

    def __init__(self, shapes=4, latent_size=16, weight=0.1):
        super().__init__()
        self.latents, self.decoder, self.weight = nn.Embedding(shapes, latent_size), Decoder(latent_size), weight

    def forward(self, shape_id, surface, surface_normals, volume):
        latent = self.latents(shape_id)
        on_surface, normals = decode_sdf_gradient(self.decoder, latent, surface)
        _, gradients = decode_sdf_gradient(self.decoder, latent, volume)
        eikonal = (gradients.norm(dim=-1) - 1).square().mean()
        alignment = (1 - F.cosine_similarity(normals, surface_normals, dim=-1)).mean()
        return on_surface.abs().mean() + self.weight * eikonal + alignment


def sample_sphere(n, radius=0.6):
    normals = F.normalize(torch.randn(n, 3), dim=-1)
    return normals * radius, normals


def build():
    return EikonalSolver()


def step(model):
    surface, normals = sample_sphere(96)
    volume = torch.rand(128, 3) * 2 - 1
    return model(torch.tensor([2]), surface, normals, volume)


# real fix: grad_outputs=torch.ones_like(sdf)
# offending tensor: grad_outputs (64, 3) where the output is (64, 1)
TRUTH = dict(raises='RuntimeError', at='function:grad', culprits=['function:ones_like', 'function:grad'], dim=1, got=3, wanted=1,
             hint_any=['ones_like', 'grad_outputs', 'sdf'])
MENDED = [('grad_outputs=torch.ones_like(points_batch)', 'grad_outputs=torch.ones_like(sdf)')]
