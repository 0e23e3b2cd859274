from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/roboflow/rf-detr/pull/630'
CATEGORY = 'layer'
DESCRIPTION = 'The windowed backbone of a detector folds the patch grid with the height of a window in place of its width; an image that is not square cannot be folded.'


@dataclass
class WindowedDinov2Config:
    hidden_size: int = 32
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    patch_size: int = 4
    image_size: int = 32
    num_windows: int = 2
    window_block_indexes: tuple = (0, 1, 3)


class Dinov2PatchEmbeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.projection = nn.Conv2d(3, config.hidden_size, config.patch_size, config.patch_size)

    def forward(self, pixel_values):
        return self.projection(pixel_values).flatten(2).transpose(1, 2)


class WindowedDinov2Embeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.cls_token = nn.Parameter(torch.randn(1, 1, config.hidden_size))
        self.patch_embeddings = Dinov2PatchEmbeddings(config)
        self.side = config.image_size // config.patch_size
        self.position_embeddings = nn.Parameter(torch.randn(1, self.side ** 2 + 1, config.hidden_size))

    def interpolate_pos_encoding(self, height, width):
        dim = self.position_embeddings.shape[-1]
        cls, patch = self.position_embeddings[:, :1], self.position_embeddings[:, 1:]
        patch = patch.reshape(1, self.side, self.side, dim).permute(0, 3, 1, 2)
        patch = F.interpolate(patch, size=(height, width), mode='bicubic', align_corners=False)
        return torch.cat((cls, patch.permute(0, 2, 3, 1).reshape(1, -1, dim)), 1)

    def forward(self, pixel_values):
        batch_size, _, height, width = pixel_values.shape
        num_h_patches, num_w_patches = height // self.config.patch_size, width // self.config.patch_size
        embeddings = self.patch_embeddings(pixel_values)
        embeddings = torch.cat((self.cls_token.expand(batch_size, -1, -1), embeddings), dim=1)
        embeddings = embeddings + self.interpolate_pos_encoding(num_h_patches, num_w_patches)
        num_windows = self.config.num_windows
        if num_windows > 1:
            cls_token_with_pos_embed, pixel_tokens = embeddings[:, :1], embeddings[:, 1:]
            pixel_tokens = pixel_tokens.view(batch_size, num_h_patches, num_w_patches, -1)
            num_w_patches_per_window = num_w_patches // num_windows
            num_h_patches_per_window = num_h_patches // num_windows
            windowed = pixel_tokens.view(batch_size, num_windows, num_h_patches_per_window, num_windows, num_h_patches_per_window, -1)
            windowed = windowed.permute(0, 1, 3, 2, 4, 5)
            windowed = windowed.reshape(batch_size * num_windows ** 2, num_h_patches_per_window * num_w_patches_per_window, -1)
            embeddings = torch.cat((cls_token_with_pos_embed.repeat(num_windows ** 2, 1, 1), windowed), dim=1)
        return embeddings


class Dinov2Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(config.hidden_size), nn.LayerNorm(config.hidden_size)
        self.attention = nn.MultiheadAttention(config.hidden_size, config.num_attention_heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(config.hidden_size, 64), nn.GELU(), nn.Linear(64, config.hidden_size))
        self.num_windows = config.num_windows

    def forward(self, x, run_full_attention):
        shortcut = x
        if run_full_attention:
            B, HW, C = x.shape
            x = x.reshape(B // self.num_windows ** 2, self.num_windows ** 2 * HW, C)
        x = self.norm1(x)
        x = self.attention(x, x, x, need_weights=False)[0].reshape(shortcut.shape) + shortcut
        return x + self.mlp(self.norm2(x))


class Backbone(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embeddings = WindowedDinov2Embeddings(config)
        self.layer = nn.ModuleList(Dinov2Layer(config) for _ in range(config.num_hidden_layers))
        self.layernorm = nn.LayerNorm(config.hidden_size)

    def forward(self, images):
        b, _, h, w = images.shape
        nw, ph, pw = self.config.num_windows, h // self.config.patch_size, w // self.config.patch_size
        x = self.embeddings(images)
        for i, layer in enumerate(self.layer):
            x = layer(x, run_full_attention=i not in self.config.window_block_indexes)
        x = self.layernorm(x)[:, 1:]
        x = x.reshape(b, nw, nw, ph // nw, pw // nw, -1).permute(0, 5, 1, 3, 2, 4)
        return x.reshape(b, -1, ph, pw)


class LWDETR(nn.Module):
    def __init__(self, config, num_classes=5, num_queries=6):
        super().__init__()
        self.backbone = Backbone(config)
        self.query_feat = nn.Embedding(num_queries, config.hidden_size)
        self.decoder = nn.TransformerDecoderLayer(config.hidden_size, 4, 64, batch_first=True)
        self.class_embed, self.bbox_embed = nn.Linear(config.hidden_size, num_classes), nn.Linear(config.hidden_size, 4)

    def forward(self, samples):
        memory = self.backbone(samples).flatten(2).transpose(1, 2)
        hs = self.decoder(self.query_feat.weight.expand(len(samples), -1, -1), memory)
        return {'pred_logits': self.class_embed(hs), 'pred_boxes': self.bbox_embed(hs).sigmoid()}


def build():
    return LWDETR(WindowedDinov2Config())


def step(model):
    out = model(torch.rand(4, 3, 24, 32))
    labels = F.one_hot(torch.randint(0, 5, (4, 6)), 5).float()
    return F.binary_cross_entropy_with_logits(out['pred_logits'], labels) + F.l1_loss(out['pred_boxes'], torch.rand(4, 6, 4))


# real fix: num_w_patches_per_window as the fifth size of the view
TRUTH = dict(raises='RuntimeError', at='function:view', culprits=['function:view'], dim=None, got=None, wanted=None,
             hint_any=['width', 'window', 'divisible', 'num_w'])
MENDED = [('num_windows, num_h_patches_per_window, -1)', 'num_windows, num_w_patches_per_window, -1)')]
