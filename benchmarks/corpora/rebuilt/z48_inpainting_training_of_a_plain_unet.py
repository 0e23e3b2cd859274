from types import SimpleNamespace

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/kohya-ss/sd-scripts/pull/2309'
CATEGORY = 'layer'
DESCRIPTION = 'Inpainting training (latents, mask and masked latents: 9 channels) started from a standard checkpoint whose conv_in takes 4.'

SD15_UNET = dict(in_channels=4, out_channels=4, block_out_channels=(16, 32), cross_attention_dim=24)


def timestep_embedding(t, dim):
    freqs = torch.exp(-torch.arange(dim // 2) * 9.2 / (dim // 2))
    args = t[:, None].float() * freqs[None]
    return torch.cat([args.cos(), args.sin()], -1)


class ResnetBlock2D(nn.Module):
    def __init__(self, in_ch, out_ch, temb):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(4, in_ch), nn.Conv2d(in_ch, out_ch, 3, padding=1)
        self.time_emb_proj = nn.Linear(temb, out_ch)
        self.norm2, self.conv2 = nn.GroupNorm(4, out_ch), nn.Conv2d(out_ch, out_ch, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(in_ch, out_ch, 1) if in_ch != out_ch else nn.Identity()

    def forward(self, x, temb):
        h = self.conv1(F.silu(self.norm1(x))) + self.time_emb_proj(F.silu(temb))[:, :, None, None]
        return self.conv_shortcut(x) + self.conv2(F.silu(self.norm2(h)))


class CrossAttention(nn.Module):
    def __init__(self, dim, context_dim):
        super().__init__()
        self.attn = nn.MultiheadAttention(dim, 4, kdim=context_dim, vdim=context_dim, batch_first=True)

    def forward(self, x, context):
        tokens = x.flatten(2).transpose(1, 2)
        out, _ = self.attn(tokens, context, context)
        return x + out.transpose(1, 2).reshape(x.shape)


class UNet2DConditionModel(nn.Module):
    def __init__(self, in_channels, out_channels, block_out_channels, cross_attention_dim):
        super().__init__()
        c0, c1 = block_out_channels
        self.in_channels, self.c0 = in_channels, c0
        self.time_embedding = nn.Sequential(nn.Linear(c0, 32), nn.SiLU(), nn.Linear(32, 32))
        self.conv_in = nn.Conv2d(in_channels, c0, 3, padding=1)
        self.down = ResnetBlock2D(c0, c0, 32)
        self.downsample = nn.Conv2d(c0, c1, 3, 2, 1)
        self.mid, self.mid_attn = ResnetBlock2D(c1, c1, 32), CrossAttention(c1, cross_attention_dim)
        self.up = ResnetBlock2D(c1 + c0, c0, 32)
        self.conv_out = nn.Conv2d(c0, out_channels, 3, padding=1)

    def forward(self, sample, timestep, encoder_hidden_states):
        temb = self.time_embedding(timestep_embedding(timestep, self.c0))
        sample = self.conv_in(sample)
        skip = self.down(sample, temb)
        h = self.mid_attn(self.mid(self.downsample(skip), temb), encoder_hidden_states)
        h = F.interpolate(h, scale_factor=2.0, mode='nearest')
        return self.conv_out(self.up(torch.cat([h, skip], 1), temb))


class NetworkTrainer(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.args = args
        self.vae_encoder = nn.Conv2d(3, 4, 8, stride=8)
        self.unet = self.load_target_model()
        self.register_buffer('alphas_cumprod', torch.cumprod(1 - torch.linspace(0.0008, 0.012, 1000), 0))

    def load_target_model(self):
        unet = UNet2DConditionModel(**SD15_UNET)
        return unet

    def encode(self, images):
        with torch.no_grad():
            return self.vae_encoder(images) * 0.18215

    def get_noise_pred_and_target(self, latents, batch):
        noise = torch.randn_like(latents)
        timesteps = torch.randint(0, 1000, (latents.shape[0],))
        a = self.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        noisy_latents = a.sqrt() * latents + (1 - a).sqrt() * noise
        if self.args.train_inpainting:
            masked_latents = self.encode(batch['images'] * (1 - batch['masks']))
            mask = F.interpolate(batch['masks'], size=latents.shape[-2:])
            noisy_latents = torch.cat([noisy_latents, mask, masked_latents], dim=1)
        return self.unet(noisy_latents, timesteps, batch['text_encoder_outputs']), noise

    def process_batch(self, batch):
        noise_pred, target = self.get_noise_pred_and_target(self.encode(batch['images']), batch)
        return F.mse_loss(noise_pred.float(), target.float(), reduction='none').mean([1, 2, 3]).mean()


def build():
    return NetworkTrainer(SimpleNamespace(train_inpainting=True))


def step(model):
    batch = dict(images=torch.rand(4, 3, 80, 64), masks=(torch.rand(4, 1, 80, 64) > 0.7).float(), text_encoder_outputs=torch.randn(4, 9, 24))
    return model.process_batch(batch)


# real fix: expand conv_in from 4 to 9 channels when the checkpoint is not an inpainting model
TRUTH = dict(raises='RuntimeError', at='module:unet.conv_in', culprits=['unet.conv_in'], dim=1, got=9, wanted=4,
             hint_any=['9', 'in_channels'])
MENDED = [('unet = UNet2DConditionModel(**SD15_UNET)',
           'unet = UNet2DConditionModel(**SD15_UNET)\n        old = unet.conv_in\n        unet.conv_in = nn.Conv2d(9, old.out_channels, 3, padding=1)\n'
           '        with torch.no_grad():\n            unet.conv_in.weight.zero_()\n            unet.conv_in.weight[:, :4] = old.weight\n            unet.conv_in.bias.copy_(old.bias)')]
