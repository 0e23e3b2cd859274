import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/bytedance/1d-tokenizer/issues/7'
CATEGORY = 'correct'
DESCRIPTION = 'TiTok encoder: tokens are permuted to (length, batch, width) around CLIP-style blocks with nn.MultiheadAttention.'


class ResidualAttentionBlock(nn.Module):
    def __init__(self, d_model, n_head):
        super().__init__()
        self.ln_1 = nn.LayerNorm(d_model)
        self.attn = nn.MultiheadAttention(d_model, n_head)
        self.ln_2 = nn.LayerNorm(d_model)
        self.mlp = nn.Sequential(nn.Linear(d_model, d_model * 2), nn.GELU(), nn.Linear(d_model * 2, d_model))

    def forward(self, x):
        y = self.ln_1(x)
        x = x + self.attn(query=y, key=y, value=y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class TiTokEncoder(nn.Module):
    def __init__(self, image_size=16, patch_size=4, width=24, num_layers=2, num_heads=4, num_latent_tokens=6, token_size=8):
        super().__init__()
        self.grid_size = image_size // patch_size
        self.num_latent_tokens = num_latent_tokens
        self.num_layers = num_layers
        self.patch_embed = nn.Conv2d(3, width, patch_size, patch_size)
        self.class_embedding = nn.Parameter(torch.randn(1, width))
        self.positional_embedding = nn.Parameter(torch.randn(self.grid_size ** 2 + 1, width))
        self.latent_token_positional_embedding = nn.Parameter(torch.randn(num_latent_tokens, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = nn.ModuleList([ResidualAttentionBlock(width, num_heads) for _ in range(num_layers)])
        self.ln_post = nn.LayerNorm(width)
        self.conv_out = nn.Conv2d(width, token_size, 1)

    def forward(self, pixel_values, latent_tokens):
        batch_size = pixel_values.shape[0]
        x = self.patch_embed(pixel_values)
        x = x.reshape(x.shape[0], x.shape[1], -1).permute(0, 2, 1)
        x = torch.cat([self.class_embedding.unsqueeze(0).expand(batch_size, -1, -1), x], dim=1)
        x = x + self.positional_embedding
        latent_tokens = latent_tokens.unsqueeze(0).expand(batch_size, -1, -1) + self.latent_token_positional_embedding
        x = self.ln_pre(torch.cat([x, latent_tokens], dim=1))
        x = x.permute(1, 0, 2)
        for i in range(self.num_layers):
            x = self.transformer[i](x)
        x = x.permute(1, 0, 2)
        latent_tokens = self.ln_post(x[:, 1 + self.grid_size ** 2:])
        latent_tokens = latent_tokens.permute(0, 2, 1).unsqueeze(2)
        return self.conv_out(latent_tokens)


class TiTok(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = TiTokEncoder()
        self.latent_tokens = nn.Parameter(torch.randn(6, 24) * 24 ** -0.5)
        self.decoder = nn.Linear(8 * 6, 3 * 16 * 16)

    def forward(self, x):
        z = self.encoder(x, self.latent_tokens)
        return self.decoder(z.flatten(1)).view_as(x)


def build():
    return TiTok()


def step(model):
    opt = torch.optim.AdamW(model.parameters(), lr=1e-4)
    images = torch.rand(6, 3, 16, 16)
    loss = F.mse_loss(model(images), images)
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
