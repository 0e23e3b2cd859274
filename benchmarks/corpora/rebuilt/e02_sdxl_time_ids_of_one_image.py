import math
from types import SimpleNamespace

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/huggingface/diffusers/issues/7239'
CATEGORY = 'layer'
DESCRIPTION = 'SDXL with prior preservation: instance and class prompts are joined (2 rows), the micro-conditioning ids are computed for one image and shared out by a reshape.'


def get_timestep_embedding(t, dim):
    half = dim // 2
    freqs = torch.exp(-math.log(10000) * torch.arange(half).float() / half)
    ang = t.float()[:, None] * freqs[None]
    return torch.cat([ang.cos(), ang.sin()], dim=-1)


class Timesteps(nn.Module):
    def __init__(self, num_channels):
        super().__init__()
        self.num_channels = num_channels

    def forward(self, t):
        return get_timestep_embedding(t, self.num_channels)


class TimestepEmbedding(nn.Module):
    def __init__(self, cin, dim):
        super().__init__()
        self.linear_1 = nn.Linear(cin, dim)
        self.act = nn.SiLU()
        self.linear_2 = nn.Linear(dim, dim)

    def forward(self, x):
        return self.linear_2(self.act(self.linear_1(x)))


class CrossAttnBlock(nn.Module):
    def __init__(self, dim, context, emb):
        super().__init__()
        self.norm1 = nn.GroupNorm(8, dim)
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1)
        self.time_emb_proj = nn.Linear(emb, dim)
        self.attn2 = nn.MultiheadAttention(dim, 4, kdim=context, vdim=context, batch_first=True)

    def forward(self, x, emb, context):
        h = self.conv1(F.silu(self.norm1(x))) + self.time_emb_proj(F.silu(emb))[:, :, None, None]
        tokens = h.flatten(2).transpose(1, 2)
        tokens = tokens + self.attn2(tokens, context, context, need_weights=False)[0]
        return x + tokens.transpose(1, 2).reshape_as(x)


class UNet(nn.Module):
    def __init__(self, ch=32, context=64, pooled=40, addition_time_embed_dim=8):
        super().__init__()
        emb = ch * 4
        self.conv_in = nn.Conv2d(4, ch, 3, padding=1)
        self.time_proj = Timesteps(ch)
        self.time_embedding = TimestepEmbedding(ch, emb)
        self.add_time_proj = Timesteps(addition_time_embed_dim)
        self.add_embedding = TimestepEmbedding(pooled + 6 * addition_time_embed_dim, emb)
        self.blocks = nn.ModuleList([CrossAttnBlock(ch, context, emb) for _ in range(2)])
        self.conv_out = nn.Conv2d(ch, 4, 3, padding=1)

    def forward(self, sample, timestep, encoder_hidden_states, added_cond_kwargs):
        emb = self.time_embedding(self.time_proj(timestep))
        text_embeds = added_cond_kwargs['text_embeds']
        time_ids = added_cond_kwargs['time_ids']
        time_embeds = self.add_time_proj(time_ids.flatten())
        time_embeds = time_embeds.reshape((text_embeds.shape[0], -1))
        add_embeds = torch.cat([text_embeds, time_embeds], dim=-1)
        emb = emb + self.add_embedding(add_embeds)
        x = self.conv_in(sample)
        for block in self.blocks:
            x = block(x, emb, encoder_hidden_states)
        return self.conv_out(x)


def build():
    return UNet()


def compute_time_ids(args):
    original_size = target_size = (args.resolution, args.resolution)
    return torch.tensor([list(original_size + args.crop + target_size)])


def encode_prompt(prompt):
    return torch.randn(1, 12, 64), torch.randn(1, 40)


def step(model):
    args = SimpleNamespace(resolution=1024, crop=(0, 0), with_prior_preservation=True, prior_loss_weight=1.0)
    prompt_embeds, unet_add_text_embeds = encode_prompt('a photo of sks dog')
    add_time_ids = compute_time_ids(args)
    if args.with_prior_preservation:
        class_embeds, class_pooled = encode_prompt('photo of a dog')
        prompt_embeds = torch.cat([prompt_embeds, class_embeds], dim=0)
        unet_add_text_embeds = torch.cat([unet_add_text_embeds, class_pooled], dim=0)
    latents = torch.randn(2, 4, 8, 8)
    noise = torch.randn_like(latents)
    timesteps = torch.randint(0, 1000, (latents.shape[0],))
    noisy = 0.7 * latents + 0.7 * noise
    cond = {'time_ids': add_time_ids, 'text_embeds': unet_add_text_embeds}
    pred = model(noisy, timesteps, prompt_embeds, cond)
    pred, pred_prior = torch.chunk(pred, 2, dim=0)
    target, target_prior = torch.chunk(noise, 2, dim=0)
    return F.mse_loss(pred, target) + args.prior_loss_weight * F.mse_loss(pred_prior, target_prior)


# real fix: add_time_ids = torch.cat([add_time_ids, class_time_ids]): one row of six ids for every image of the batch
# offending tensor: time_ids (1, 6) -> time_embeds (2, 24) in place of (2, 48); input of add_embedding.linear_1 (2, 64), 88 wanted
TRUTH = dict(raises='RuntimeError', at='module:add_embedding.linear_1', culprits=['function:reshape', 'function:tensor', 'input'], dim=1, got=64,
             wanted=88, hint_any=['reshape', 'time_ids', 'batch', 'repeat'])
MENDED = [("torch.cat([unet_add_text_embeds, class_pooled], dim=0)\n",
           "torch.cat([unet_add_text_embeds, class_pooled], dim=0)\n        add_time_ids = torch.cat([add_time_ids, compute_time_ids(args)], dim=0)\n")]
