import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/lucidrains/tab-transformer-pytorch/issues/29'
CATEGORY = 'layer'
DESCRIPTION = 'TabTransformer: the shared column embedding (4) is joined to category embeddings that already fill the whole width of 32.'


class RMSNorm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.scale = dim ** 0.5
        self.gamma = nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        return F.normalize(x, dim=-1) * self.scale * (self.gamma + 1)


class GEGLU(nn.Module):
    def forward(self, x):
        x, gates = x.chunk(2, dim=-1)
        return x * F.gelu(gates)


def FeedForward(dim, mult=4, dropout=0.):
    return nn.Sequential(RMSNorm(dim), nn.Linear(dim, dim * mult * 2), GEGLU(), nn.Dropout(dropout), nn.Linear(dim * mult, dim))


class Attention(nn.Module):
    def __init__(self, dim, heads=8, dim_head=16, dropout=0.):
        super().__init__()
        inner, self.heads, self.scale = dim_head * heads, heads, dim_head ** -0.5
        self.norm = RMSNorm(dim)
        self.to_qkv = nn.Linear(dim, inner * 3, bias=False)
        self.to_out = nn.Linear(inner, dim, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        b, n, _ = x.shape
        q, k, v = (t.view(b, n, self.heads, -1).transpose(1, 2) for t in self.to_qkv(self.norm(x)).chunk(3, dim=-1))
        attn = self.dropout((q * self.scale @ k.transpose(-1, -2)).softmax(dim=-1))
        return self.to_out((attn @ v).transpose(1, 2).reshape(b, n, -1))


class Transformer(nn.Module):
    def __init__(self, dim, depth, heads, attn_dropout, ff_dropout):
        super().__init__()
        self.layers = nn.ModuleList([nn.ModuleList([Attention(dim, heads, dropout=attn_dropout), FeedForward(dim, dropout=ff_dropout)])
                                     for _ in range(depth)])

    def forward(self, x):
        for attn, ff in self.layers:
            x = attn(x) + x
            x = ff(x) + x
        return x


class MLP(nn.Module):
    def __init__(self, dims, act=None):
        super().__init__()
        layers = []
        for ind, (inside, outside) in enumerate(zip(dims[:-1], dims[1:])):
            layers.append(nn.Linear(inside, outside))
            if ind < len(dims) - 2:
                layers.append(act or nn.ReLU())
        self.mlp = nn.Sequential(*layers)

    def forward(self, x):
        return self.mlp(x)


class TabTransformer(nn.Module):
    def __init__(self, *, categories, num_continuous, dim, depth, heads, dim_out=1, mlp_hidden_mults=(4, 2), attn_dropout=0.,
                 ff_dropout=0., use_shared_categ_embed=True, shared_categ_dim_divisor=8., continuous_mean_std=None):
        super().__init__()
        self.num_categories, self.num_continuous = len(categories), num_continuous
        offsets = F.pad(torch.tensor(list(categories)), (1, -1), value=0).cumsum(dim=-1)
        self.register_buffer('categories_offset', offsets)
        self.category_embed = nn.Embedding(sum(categories), dim)
        self.use_shared_categ_embed = use_shared_categ_embed
        shared_embed_dim = 0 if not use_shared_categ_embed else int(dim // shared_categ_dim_divisor)
        if use_shared_categ_embed:
            self.shared_category_embed = nn.Parameter(torch.randn(self.num_categories, shared_embed_dim) * 0.02)
        if continuous_mean_std is not None:
            self.register_buffer('continuous_mean_std', continuous_mean_std)
        self.norm = nn.LayerNorm(num_continuous)
        self.transformer = Transformer(dim, depth, heads, attn_dropout, ff_dropout)
        input_size = dim * self.num_categories + num_continuous
        self.mlp = MLP([input_size, *(input_size // 8 * m for m in mlp_hidden_mults), dim_out])

    def forward(self, x_categ, x_cont):
        categ_embed = self.category_embed(x_categ + self.categories_offset)
        if self.use_shared_categ_embed:
            shared = self.shared_category_embed.expand(len(categ_embed), -1, -1)
            categ_embed = torch.cat((categ_embed, shared), dim=-1)
        flat_categ = self.transformer(categ_embed).flatten(1)
        if hasattr(self, 'continuous_mean_std'):
            mean, std = self.continuous_mean_std.unbind(dim=-1)
            x_cont = (x_cont - mean) / std
        return self.mlp(torch.cat((flat_categ, self.norm(x_cont)), dim=-1))


def build():
    return TabTransformer(categories=(10, 5, 6, 5, 8), num_continuous=10, dim=32, depth=2, heads=8, attn_dropout=0.1, ff_dropout=0.1,
                          continuous_mean_std=torch.rand(10, 2) + 0.5)


def step(model):
    x_categ = torch.stack([torch.randint(0, n, (12,)) for n in (10, 5, 6, 5, 8)], dim=1)
    x_cont = torch.randn(12, 10)
    pred = model(x_categ, x_cont)
    return F.binary_cross_entropy_with_logits(pred, torch.randint(0, 2, (12, 1)).float())


# real fix: nn.Embedding(sum(categories), dim - shared_embed_dim)
# offending tensor: categ_embed (12, 5, 36), 32 expected
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['function:cat', 'category_embed', ''], dim=2, got=36, wanted=32,
             hint_any=['cat', '28', '32', 'embedding', 'shared'])
MENDED = [('        self.category_embed = nn.Embedding(sum(categories), dim)\n', ''),
          ('int(dim // shared_categ_dim_divisor)\n', 'int(dim // shared_categ_dim_divisor)\n        self.category_embed = nn.Embedding(sum(categories), dim - shared_embed_dim)\n')]
