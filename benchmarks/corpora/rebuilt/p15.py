import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/modelscope/DiffSynth-Studio/issues/441'
CATEGORY = 'loss'
DESCRIPTION = 'Video diffusion transformer: the clips are 360 wide, so the latents are 45 wide; patches of 2 leave one column out and the prediction has 44.'

args = dict(height=240, width=360, num_frames=3, dim=24, patch=(1, 2, 2), latent=4, layers=2, text_len=6)


class VAE(nn.Module):
    def __init__(self, latent):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv3d(3, 8, (1, 4, 4), (1, 4, 4)), nn.SiLU(), nn.Conv3d(8, latent, (1, 2, 2), (1, 2, 2)))
        self.requires_grad_(False)

    def forward(self, video):
        z = self.encoder(video)
        return (z - z.mean()) / (z.std() + 1e-5)


class DiTBlock(nn.Module):
    def __init__(self, dim, heads=2):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.self_attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.cross_attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.ffn = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.modulation = nn.Linear(dim, 3 * dim)

    def forward(self, x, context, t):
        shift, scale, gate = self.modulation(t).unsqueeze(1).chunk(3, dim=-1)
        h = self.norm1(x) * (1 + scale) + shift
        x = x + gate * self.self_attn(h, h, h, need_weights=False)[0]
        x = x + self.cross_attn(self.norm3(x), context, context, need_weights=False)[0]
        return x + self.ffn(self.norm2(x))


class WanModel(nn.Module):
    def __init__(self, dim, patch, latent, layers):
        super().__init__()
        self.patch, self.latent = patch, latent
        self.patch_embedding = nn.Conv3d(latent, dim, patch, patch)
        self.time_embedding = nn.Sequential(nn.Linear(16, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.text_embedding = nn.Linear(12, dim)
        self.blocks = nn.ModuleList([DiTBlock(dim) for _ in range(layers)])
        self.head = nn.Linear(dim, latent * patch[0] * patch[1] * patch[2])

    def unpatchify(self, x, grid):
        (f, h, w), (pf, ph, pw) = grid, self.patch
        x = x.view(x.size(0), f, h, w, pf, ph, pw, self.latent)
        return x.permute(0, 7, 1, 4, 2, 5, 3, 6).reshape(x.size(0), self.latent, f * pf, h * ph, w * pw)

    def forward(self, x, timestep, context):
        freqs = torch.exp(-torch.arange(8.) / 2)
        t = self.time_embedding(torch.cat([torch.cos(timestep[:, None] * freqs), torch.sin(timestep[:, None] * freqs)], 1))
        context = self.text_embedding(context)
        x = self.patch_embedding(x)
        grid = x.shape[2:]
        x = x.flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x, context, t)
        return self.unpatchify(self.head(x), grid)


class LightningModelForTrain(nn.Module):
    def __init__(self, a):
        super().__init__()
        self.vae, self.denoising_model = VAE(a['latent']), WanModel(a['dim'], a['patch'], a['latent'], a['layers'])

    def training_step(self, batch):
        latents = self.vae(batch['video'])
        noise, timestep = torch.randn_like(latents), torch.rand(latents.size(0))
        sigma = timestep.view(-1, 1, 1, 1, 1)
        noisy_latents = (1 - sigma) * latents + sigma * noise
        training_target = noise - latents
        noise_pred = self.denoising_model(noisy_latents, timestep * 1000, batch['context'])
        return F.mse_loss(noise_pred.float(), training_target.float())


def build():
    return LightningModelForTrain(args)


def step(model):
    a = args
    video = torch.rand(1, 3, a['num_frames'], a['height'], a['width'])
    return model.training_step(dict(video=video, context=torch.randn(1, a['text_len'], 12)))


# real fix: a width that is a multiple of 16 (8 of the autoencoder times 2 of the patches)
# offending tensor: noise_pred (1, 4, 3, 30, 44), width 45 expected
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['input', 'denoising_model.patch_embedding', 'denoising_model'], dim=4, got=44, wanted=45,
             hint_any=['patch', 'multiple', 'odd', 'stride', 'divisible', 'pad'])
MENDED = [('width=360', 'width=352')]
