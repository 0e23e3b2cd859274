from collections import OrderedDict
import torch
from torch import nn

SOURCE = 'https://github.com/microsoft/VideoX/issues/85'
CATEGORY = 'silent'
DESCRIPTION = 'X-CLIP: DropPath draws one number per entry of dim 0, but the blocks run on (tokens, batch, width): whole token positions are dropped for every sample.'


def drop_path(x, drop_prob: float = 0., training: bool = False):
    if drop_prob == 0. or not training:
        return x
    keep_prob = 1 - drop_prob
    shape = (x.shape[0],) + (1,) * (x.ndim - 1)
    random_tensor = keep_prob + torch.rand(shape, dtype=x.dtype, device=x.device)
    random_tensor.floor_()
    return x.div(keep_prob) * random_tensor


class DropPath(nn.Module):
    def __init__(self, drop_prob=None):
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x):
        return drop_path(x, self.drop_prob, self.training)


class CrossFramelAttentionBlock(nn.Module):
    def __init__(self, d_model, n_head, droppath=0., T=0):
        super().__init__()
        self.T = T
        self.message_fc = nn.Linear(d_model, d_model)
        self.message_ln = nn.LayerNorm(d_model)
        self.message_attn = nn.MultiheadAttention(d_model, n_head)
        self.attn = nn.MultiheadAttention(d_model, n_head)
        self.ln_1 = nn.LayerNorm(d_model)
        self.drop_path = DropPath(droppath) if droppath > 0. else nn.Identity()
        self.mlp = nn.Sequential(OrderedDict([
            ('c_fc', nn.Linear(d_model, d_model * 4)), ('gelu', nn.GELU()), ('c_proj', nn.Linear(d_model * 4, d_model))]))
        self.ln_2 = nn.LayerNorm(d_model)

    def attention(self, x):
        return self.attn(x, x, x, need_weights=False)[0]

    def forward(self, x):
        l, bt, d = x.size()
        b = bt // self.T
        x = x.view(l, b, self.T, d)
        msg_token = self.message_fc(x[0]).view(b, self.T, 1, d)
        msg_token = msg_token.permute(1, 2, 0, 3).reshape(self.T, b, d)
        msg = self.message_ln(msg_token)
        msg_token = msg_token + self.drop_path(self.message_attn(msg, msg, msg, need_weights=False)[0])
        msg_token = msg_token.view(self.T, 1, b, d).permute(1, 2, 0, 3)
        x = torch.cat([x, msg_token], dim=0)
        x = x.view(l + 1, -1, d)
        x = x + self.drop_path(self.attention(self.ln_1(x)))
        x = x[:l, :, :]
        x = x + self.drop_path(self.mlp(self.ln_2(x)))
        return x


class Transformer(nn.Module):
    def __init__(self, width, layers, heads, droppath=None, T=8):
        super().__init__()
        droppath = droppath or [0.0 for _ in range(layers)]
        self.resblocks = nn.Sequential(*[CrossFramelAttentionBlock(width, heads, droppath[i], T) for i in range(layers)])

    def forward(self, x):
        return self.resblocks(x)


class CrossFrameCommunicationTransformer(nn.Module):
    def __init__(self, resolution=12, patch=4, width=32, layers=2, heads=4, classes=5, droppath=(0.3, 0.6), T=4):
        super().__init__()
        scale, self.T = width ** -0.5, T
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.positional_embedding = nn.Parameter(scale * torch.randn((resolution // patch) ** 2 + 1, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Transformer(width, layers, heads, droppath, T)
        self.head = nn.Linear(width, classes)

    def forward(self, video):
        b, t, c, h, w = video.shape
        x = self.conv1(video.reshape(b * t, c, h, w)).flatten(2).permute(0, 2, 1)
        cls = self.class_embedding + torch.zeros(x.shape[0], 1, x.shape[-1])
        x = self.ln_pre(torch.cat([cls, x], dim=1) + self.positional_embedding)
        x = self.transformer(x.permute(1, 0, 2)).permute(1, 0, 2)
        cls_x = self.ln_post(x[:, 0, :]).view(b, t, -1).mean(dim=1)
        return self.head(cls_x)


def build():
    return CrossFrameCommunicationTransformer()


def step(model):
    model.train()
    video, label = torch.randn(6, 4, 3, 12, 12), torch.randint(0, 5, (6,))
    return nn.functional.cross_entropy(model(video), label)


# fix: one draw per entry of the batch dimension, shape (1, x.shape[1], 1)
TRUTH = dict(raises=None, at='function:mul',
             culprits=['function:rand', 'function:mul', 'transformer.resblocks.0.drop_path', 'transformer.resblocks.1.drop_path'],
             dim=0, got=None, wanted=None, hint_any=['token', 'batch', 'sample', 'dim 0', 'dim 1', 'dim=1'])
MENDED = [('(x.shape[0],) + (1,) * (x.ndim - 1)', '(1, x.shape[1]) + (1,) * (x.ndim - 2)')]
