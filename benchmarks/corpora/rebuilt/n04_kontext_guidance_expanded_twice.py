import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/ostris/ai-toolkit/issues/332'
CATEGORY = 'layer'
DESCRIPTION = 'Training a LoRA for an image-editing flow model works with batch size 1 and stops in the time/guidance embedding with 4.'


def get_timestep_embedding(t, dim):
    freqs = torch.exp(-math.log(10000) * torch.arange(dim // 2) / (dim // 2))
    args = t[:, None].float() * freqs[None]
    return torch.cat([args.cos(), args.sin()], dim=-1)


def embedder(in_channels, dim):
    return nn.Sequential(nn.Linear(in_channels, dim), nn.SiLU(), nn.Linear(dim, dim))


class CombinedTimestepGuidanceTextProjEmbeddings(nn.Module):
    def __init__(self, dim, pooled_dim):
        super().__init__()
        self.timestep_embedder = embedder(16, dim)
        self.guidance_embedder = embedder(16, dim)
        self.text_embedder = embedder(pooled_dim, dim)

    def forward(self, timestep, guidance, pooled_projection):
        timesteps_emb = self.timestep_embedder(get_timestep_embedding(timestep, 16))
        guidance_emb = self.guidance_embedder(get_timestep_embedding(guidance, 16))
        time_guidance_emb = timesteps_emb + guidance_emb
        return time_guidance_emb + self.text_embedder(pooled_projection)


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.mod = nn.Linear(dim, 2 * dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x, temb):
        shift, scale = self.mod(temb)[:, None].chunk(2, dim=-1)
        h = F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift
        b, n, c = h.shape
        q, k, v = self.qkv(h).view(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        return x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c))


class FluxTransformer(nn.Module):
    guidance_embeds = True

    def __init__(self, channels=16, dim=32, text_dim=24, pooled_dim=20, heads=4, depth=2):
        super().__init__()
        self.time_text_embed = CombinedTimestepGuidanceTextProjEmbeddings(dim, pooled_dim)
        self.x_embedder = nn.Linear(channels * 4, dim)
        self.context_embedder = nn.Linear(text_dim, dim)
        self.blocks = nn.ModuleList([Block(dim, heads) for _ in range(depth)])
        self.proj_out = nn.Linear(dim, channels * 4)

    def forward(self, hidden_states, timestep, guidance, encoder_hidden_states, pooled_projections):
        x = self.x_embedder(hidden_states)
        n = x.shape[1]
        temb = self.time_text_embed(timestep * 1000, guidance * 1000, pooled_projections)
        x = torch.cat([self.context_embedder(encoder_hidden_states), x], dim=1)
        for block in self.blocks:
            x = block(x, temb)
        return self.proj_out(x[:, -n:])


def pack(latents):
    b, c, h, w = latents.shape
    return latents.view(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(b, h * w // 4, c * 4)


def unpack(x, h, w):
    b, _, c = x.shape
    return x.view(b, h // 2, w // 2, c // 4, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(b, c // 4, h, w)


def get_noise_prediction(unet, latent_model_input, timestep, text_embeds, pooled_embeds, guidance_embedding_scale=1.0):
    bs, c, h, w = latent_model_input.shape
    # a control image on the channel dimension is put on the batch for packing
    has_control = latent_model_input.shape[1] == 32
    if has_control:
        latents, control = torch.chunk(latent_model_input, 2, dim=1)
        latent_model_input = torch.cat([latents, control], dim=0)
    packed = pack(latent_model_input)
    n = packed.shape[1]
    if has_control:
        latents, control = torch.chunk(packed, 2, dim=0)
        packed = torch.cat([latents, control], dim=1)

    if unet.guidance_embeds:
        guidance = torch.tensor([guidance_embedding_scale])
        guidance = guidance.expand(latent_model_input.shape[0])
    else:
        guidance = None

    noise_pred = unet(hidden_states=packed, timestep=timestep / 1000, guidance=guidance,
                      encoder_hidden_states=text_embeds, pooled_projections=pooled_embeds)
    return unpack(noise_pred[:, :n], h, w)


def build():
    return FluxTransformer()


def step(model):
    latents, control, noise = torch.randn(4, 16, 8, 8), torch.randn(4, 16, 8, 8), torch.randn(4, 16, 8, 8)
    timestep = torch.rand(4) * 1000
    t = (timestep / 1000).view(-1, 1, 1, 1)
    noisy = (1 - t) * latents + t * noise
    pred = get_noise_prediction(model, torch.cat([noisy, control], dim=1), timestep, torch.randn(4, 7, 24), torch.randn(4, 20))
    return F.mse_loss(pred, noise - latents)


# real fix: guidance.expand(bs), the control images are on the batch dimension at that point
# offending tensor: guidance_emb (8, 32) against timesteps_emb (4, 32)
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['function:expand'], dim=0, got=8, wanted=4,
             hint_any=['batch', 'expand', 'guidance', 'twice', '8'])
MENDED = [('guidance.expand(latent_model_input.shape[0])', 'guidance.expand(bs)')]
