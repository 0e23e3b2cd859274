import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/kyegomez/BitNet/issues/32'
CATEGORY = 'silent'
DESCRIPTION = 'Transformer of 1-bit layers: the output of the attention is assigned to x and then "x = x + x" is to be the residual; the input of the layer is lost.'


def weight_quant(w):
    scale = w.abs().mean()
    return w + (w.sub(w.mean()).sign() * scale - w).detach()


def activation_quant(x):
    scale = 127.0 / x.abs().amax(dim=-1, keepdim=True).clamp(min=1e-5)
    return x + ((x * scale).round().clamp(-128, 127) / scale - x).detach()


class BitLinear(nn.Linear):
    def forward(self, x):
        x = F.layer_norm(x, (x.size(-1),))
        return F.linear(activation_quant(x), weight_quant(self.weight), self.bias)


class BitMHA(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (BitLinear(dim, dim, bias=False) for _ in range(4))

    def forward(self, query, key, value, is_causal=False):
        b, t, d = query.shape
        split = lambda z: z.view(b, -1, self.heads, d // self.heads).transpose(1, 2)
        q, k, v = split(self.q_proj(query)), split(self.k_proj(key)), split(self.v_proj(value))
        out = F.scaled_dot_product_attention(q, k, v, is_causal=is_causal)
        return self.out_proj(out.transpose(1, 2).reshape(b, t, d)), None


class BitFeedForward(nn.Module):
    def __init__(self, dim, mult=4):
        super().__init__()
        self.layer = nn.Sequential(BitLinear(dim, dim * mult), nn.GELU(), BitLinear(dim * mult, dim))

    def forward(self, x):
        return self.layer(x)


class Transformer(nn.Module):
    def __init__(self, dim, heads, depth, ff_mult=4):
        super().__init__()
        self.layers = nn.ModuleList(BitMHA(dim, heads) for _ in range(depth))
        self.ffn_layers = nn.ModuleList(BitFeedForward(dim, ff_mult) for _ in range(depth))

    def forward(self, x, *args, **kwargs):
        for attn, ffn in zip(self.layers, self.ffn_layers):
            x, _ = attn(x, x, x, is_causal=True, *args, **kwargs)
            x = x + x
            x = ffn(x) + x
        return x


class BitNetTransformer(nn.Module):
    def __init__(self, dim=32, depth=3, num_tokens=60, heads=4):
        super().__init__()
        self.emb = nn.Embedding(num_tokens, dim)
        self.transformer = Transformer(dim, heads, depth)
        self.to_logits = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, num_tokens))

    def forward(self, x):
        return self.to_logits(self.transformer(self.emb(x)))


def build():
    return BitNetTransformer()


def step(model):
    data = torch.randint(0, 60, (4, 21))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-4)
    logits = model(data[:, :-1])
    loss = F.cross_entropy(logits.transpose(1, 2), data[:, 1:])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


# real fix: skip = x; x, _ = attn(x, x, x); x = x + skip
TRUTH = dict(raises=None, at='function:add', culprits=['function:add', 'transformer'], dim=None, got=None, wanted=None,
             hint_any=['residual', 'skip', 'itself', 'twice', 'same tensor'])
MENDED = [('            x, _ = attn(x, x, x,', '            skip = x\n            x, _ = attn(x, x, x,'), ('x = x + x\n', 'x = x + skip\n')]
