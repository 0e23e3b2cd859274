import torch
from torch import nn
import torch.nn.functional as F

SOURCE = 'https://github.com/facebookresearch/WMReward/issues/11 (the reward steers sampling there; here it tunes a small generator)'
CATEGORY = 'silent'
DESCRIPTION = 'A generator of short clips is tuned with the surprise of a frozen world model: later tokens are predicted from the earlier ones and compared.'


class VisionTransformer(nn.Module):
    def __init__(self, dim=24, depth=2, tubelet=2, patch=8, tokens=16):
        super().__init__()
        self.patch_embed = nn.Conv3d(3, dim, (tubelet, patch, patch), stride=(tubelet, patch, patch))
        self.pos_embed = nn.Parameter(torch.randn(1, tokens, dim) * 0.1)
        self.blocks = nn.ModuleList([nn.TransformerEncoderLayer(dim, 4, 48, 0.0, batch_first=True, norm_first=True)
                                     for _ in range(depth)])

    def forward(self, clip, masks=None):
        x = self.patch_embed(clip).flatten(2).transpose(1, 2) + self.pos_embed
        if masks is not None:
            x = x[:, masks]
        for blk in self.blocks:
            x = blk(x)
        return x


class Predictor(nn.Module):
    def __init__(self, dim=24, tokens=16):
        super().__init__()
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.randn(1, tokens, dim) * 0.1)
        self.block = nn.TransformerEncoderLayer(dim, 4, 48, 0.0, batch_first=True, norm_first=True)
        self.proj = nn.Linear(dim, dim)

    def forward(self, z, masks_enc, masks_pred):
        target = self.mask_token + self.pos_embed[:, masks_pred].expand(z.shape[0], -1, -1)
        x = self.block(torch.cat([z + self.pos_embed[:, masks_enc], target], dim=1))
        return self.proj(x[:, len(masks_enc):])


class Generator(nn.Module):
    def __init__(self, latent=12, frames=8):
        super().__init__()
        self.frames = frames
        self.fc = nn.Linear(latent, 16 * 4 * 4)
        self.motion = nn.Linear(1, 16)
        self.up = nn.Sequential(nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.GELU(), nn.ConvTranspose2d(8, 3, 4, 2, 1))

    def forward(self, noise):
        B = noise.shape[0]
        x = self.fc(noise).view(B, 1, 16, 4, 4)
        t = torch.linspace(-1, 1, self.frames).view(-1, 1)
        x = x * (1 + self.motion(t).view(1, self.frames, 16, 1, 1))
        frames = self.up(x.flatten(0, 1)).view(B, self.frames, 3, 16, 16)
        return torch.tanh(frames).transpose(1, 2)


class WMReward(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = Generator()
        self.encoder = VisionTransformer().requires_grad_(False)
        self.predictor = Predictor().requires_grad_(False)

    def surprise(self, clip, context_frames=4, tubelet=2):
        per_step = 4
        n_ctx = context_frames // tubelet * per_step
        n_all = clip.shape[2] // tubelet * per_step
        masks_enc, masks_pred = torch.arange(n_ctx), torch.arange(n_ctx, n_all)
        h = [F.layer_norm(self.encoder(clip), (24,))[:, masks_pred]]
        z = self.predictor(self.encoder(clip, masks_enc), masks_enc, masks_pred)
        loss = 1 - F.cosine_similarity(z, h[0], dim=1).mean()
        return loss


def build():
    return WMReward()


def step(model):
    optimizer = torch.optim.Adam(model.generator.parameters(), lr=1e-3)
    for _ in range(2):
        clip = model.generator(torch.randn(4, 12))
        loss = model.surprise(clip)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.detach()


# z and h[0] are (B, N, D): dim=1 compares over the tokens; real fix: dim=-1
TRUTH = dict(raises=None, at='function:cosine_similarity', culprits=['function:cosine_similarity'], dim=1, got=8, wanted=24,
             hint_any=['dim=-1', 'dim=2', 'token', 'last', 'feature'])
MENDED = [('h[0], dim=1)', 'h[0], dim=-1)')]
