from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/hiyouga/LlamaFactory/issues/7590'
CATEGORY = 'layer'
DESCRIPTION = 'Fine-tuning of a vision-language model: cutoff_len cuts through the image tokens, the rotary positions are made for the whole image grid.'

PAD, VISION_START, VISION_END, IMAGE_PAD, IGNORE = 0, 90, 91, 92, -100


@dataclass
class DataArguments:
    template: str = 'qwen2_vl'
    cutoff_len: int = 48
    train_on_prompt: bool = False


@dataclass
class VLConfig:
    vocab_size: int = 100
    hidden_size: int = 32
    num_heads: int = 4
    num_layers: int = 2
    mrope_section: tuple = (2, 1, 1)
    spatial_merge_size: int = 2
    patch_dim: int = 48


class SupervisedDataset:
    def __init__(self, args, rows=3):
        self.args, self.rows = args, rows

    def encode(self, index):
        grid = torch.tensor([[1, 8, 8 + 8 * index]])
        n_image = int(grid.prod()) // 4
        prompt = torch.cat([torch.randint(1, 90, (6,)), torch.tensor([VISION_START]), torch.full((n_image,), IMAGE_PAD),
                            torch.tensor([VISION_END]), torch.randint(1, 90, (5 + index,))])
        answer = torch.randint(1, 90, (8,))
        input_ids = torch.cat([prompt, answer])[:self.args.cutoff_len]
        labels = torch.cat([torch.full_like(prompt, IGNORE), answer])[:self.args.cutoff_len]
        if self.args.train_on_prompt:
            labels = input_ids.clone()
        return dict(input_ids=input_ids, labels=labels, pixel_values=torch.randn(int(grid.prod()), 48), image_grid_thw=grid)


def collate(features):
    pad = lambda key, value: nn.utils.rnn.pad_sequence([f[key] for f in features], batch_first=True, padding_value=value)
    input_ids = pad('input_ids', PAD)
    return dict(input_ids=input_ids, labels=pad('labels', IGNORE), attention_mask=(input_ids != PAD).long(),
                pixel_values=torch.cat([f['pixel_values'] for f in features]),
                image_grid_thw=torch.cat([f['image_grid_thw'] for f in features]))


class Block(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg, self.head_dim = cfg, cfg.hidden_size // cfg.num_heads
        self.norm1, self.norm2 = nn.RMSNorm(cfg.hidden_size), nn.RMSNorm(cfg.hidden_size)
        self.qkv, self.o_proj = nn.Linear(cfg.hidden_size, 3 * cfg.hidden_size), nn.Linear(cfg.hidden_size, cfg.hidden_size, bias=False)
        self.mlp = nn.Sequential(nn.Linear(cfg.hidden_size, 64), nn.SiLU(), nn.Linear(64, cfg.hidden_size))

    def rotate(self, x, cos, sin):
        x1, x2 = x.chunk(2, -1)
        return x * cos + torch.cat([-x2, x1], -1) * sin

    def forward(self, x, cos, sin, mask):
        b, t, d = x.shape
        q, k, v = (z.view(b, t, -1, self.head_dim).transpose(1, 2) for z in self.qkv(self.norm1(x)).chunk(3, -1))
        q, k = self.rotate(q, cos, sin), self.rotate(k, cos, sin)
        x = x + self.o_proj(F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).reshape(b, t, d))
        return x + self.mlp(self.norm2(x))


class VLForConditionalGeneration(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.visual = nn.Sequential(nn.Linear(cfg.patch_dim * cfg.spatial_merge_size ** 2, 64), nn.GELU(), nn.Linear(64, cfg.hidden_size))
        self.embed_tokens = nn.Embedding(cfg.vocab_size, cfg.hidden_size)
        self.layers = nn.ModuleList([Block(cfg) for _ in range(cfg.num_layers)])
        self.norm, self.lm_head = nn.RMSNorm(cfg.hidden_size), nn.Linear(cfg.hidden_size, cfg.vocab_size, bias=False)

    def get_rope_index(self, input_ids, image_grid_thw, attention_mask):
        position_ids = torch.ones(3, *input_ids.shape, dtype=torch.long)
        for i, (ids, grid) in enumerate(zip(input_ids, image_grid_thw)):
            ids = ids[attention_mask[i] == 1]
            t, h, w = int(grid[0]), int(grid[1]) // self.cfg.spatial_merge_size, int(grid[2]) // self.cfg.spatial_merge_size
            start = int((ids == VISION_START).nonzero()[0]) + 1
            axes = torch.meshgrid(torch.arange(t), torch.arange(h), torch.arange(w), indexing='ij')
            parts = [torch.arange(start).expand(3, -1), torch.stack([a.flatten() for a in axes]) + start]
            rest = len(ids) - start - t * h * w
            if rest > 0:
                parts.append(torch.arange(rest).expand(3, -1) + int(parts[-1].max()) + 1)
            llm_positions = torch.cat(parts, dim=1)
            position_ids[..., i, attention_mask[i] == 1] = llm_positions
        return position_ids

    def forward(self, input_ids, labels, attention_mask, pixel_values, image_grid_thw):
        x = self.embed_tokens(input_ids)
        position_ids = self.get_rope_index(input_ids, image_grid_thw, attention_mask)
        image_embeds = self.visual(pixel_values.view(-1, self.cfg.patch_dim * self.cfg.spatial_merge_size ** 2))
        x = x.masked_scatter((input_ids == IMAGE_PAD).unsqueeze(-1).expand_as(x), image_embeds)
        inv_freq = 1.0 / 10000 ** (torch.arange(4) / 4)
        freqs = position_ids.unsqueeze(-1) * inv_freq
        freqs = torch.cat([f[k] for k, f in enumerate(freqs.split(self.cfg.mrope_section, dim=-1))], dim=-1)
        emb = torch.cat([freqs, freqs], dim=-1).unsqueeze(1)
        causal = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril() & attention_mask[:, None, None].bool()
        for layer in self.layers:
            x = layer(x, emb.cos(), emb.sin(), causal)
        logits = self.lm_head(self.norm(x))
        return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORE)


def build():
    return VLForConditionalGeneration(VLConfig())


def step(model):
    dataset = SupervisedDataset(DataArguments())
    batch = collate([dataset.encode(i) for i in range(dataset.rows)])
    return model(**batch)


# real fix: a cutoff_len that holds the image and the text, e.g. 128 (or smaller images)
# offending tensor: the third row has 48 of its 71 tokens, its image alone reaches position 55
TRUTH = dict(raises='RuntimeError', at='function:setitem', culprits=['input', 'function:getitem', 'function:cat', 'function:setitem'],
             dim=1, got=55, wanted=48, hint_any=['48', '55', 'truncat', 'length', 'tokens'])
MENDED = [('cutoff_len: int = 48', 'cutoff_len: int = 128')]
