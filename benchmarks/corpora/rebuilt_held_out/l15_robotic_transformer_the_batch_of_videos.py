import torch
import torch.nn as nn

SOURCE = 'https://github.com/lucidrains/robotic-transformer-pytorch/issues/9'
CATEGORY = 'layer'
DESCRIPTION = 'Robotic transformer: the batch of videos is made larger, the list of instructions stays the two sentences of the example.'

VOCAB = {w: i + 1 for i, w in enumerate('bring me that apple sitting on the table please pass butter'.split())}


def tokenize(texts, length=8):
    out = torch.zeros(len(texts), length, dtype=torch.long)
    for i, t in enumerate(texts):
        ids = [VOCAB[w] for w in t.split()][:length]
        out[i, :len(ids)] = torch.tensor(ids)
    return out


class FiLM(nn.Module):
    def __init__(self, dim, hidden_dim):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(dim, hidden_dim * 4), nn.SiLU(), nn.Linear(hidden_dim * 4, hidden_dim * 2))

    def forward(self, conditions, hiddens):
        scale, shift = self.net(conditions).chunk(2, dim=-1)
        scale, shift = scale[:, :, None, None], shift[:, :, None, None]
        return hiddens * (scale + 1) + shift


class TextConditioner(nn.Module):
    def __init__(self, dim, hidden_dims):
        super().__init__()
        self.embed = nn.Embedding(32, dim, padding_idx=0)
        self.conditioners = nn.ModuleList([FiLM(dim, d) for d in hidden_dims])

    def forward(self, texts, repeat_batch):
        emb = self.embed(tokenize(texts)).mean(dim=1)
        emb = emb.repeat_interleave(repeat_batch, dim=0)
        return [lambda h, f=f: f(emb, h) for f in self.conditioners]


class Stage(nn.Module):
    def __init__(self, dim_in, dim):
        super().__init__()
        self.conv = nn.Conv2d(dim_in, dim, 3, stride=2, padding=1)
        self.act = nn.GELU()

    def forward(self, x, cond_fn=None):
        x = self.conv(x)
        if cond_fn is not None:
            x = cond_fn(x)
        return self.act(x)


class MaxViT(nn.Module):
    def __init__(self, dims=(16, 32)):
        super().__init__()
        self.dims = dims
        self.layers = nn.ModuleList([Stage(i, o) for i, o in zip((3,) + dims, dims)])

    def forward(self, x, cond_fns):
        for layer, fn in zip(self.layers, cond_fns):
            x = layer(x, fn)
        return x


class RT1(nn.Module):
    def __init__(self, vit, num_actions=7, action_bins=16, heads=4):
        super().__init__()
        self.vit = vit
        self.conditioner = TextConditioner(24, vit.dims)
        self.transformer = nn.TransformerEncoderLayer(vit.dims[-1], heads, 64, 0., batch_first=True)
        self.num_actions, self.action_bins = num_actions, action_bins
        self.to_logits = nn.Linear(vit.dims[-1], num_actions * action_bins)

    def forward(self, video, texts):
        b, c, f, h, w = video.shape
        cond_fns = self.conditioner(texts, repeat_batch=f)
        images = video.permute(0, 2, 1, 3, 4).reshape(b * f, c, h, w)
        tokens = self.vit(images, cond_fns)
        tokens = tokens.flatten(2).mean(-1).view(b, f, -1)
        out = self.to_logits(self.transformer(tokens))
        return out.view(b, f, self.num_actions, self.action_bins)


def build():
    torch.manual_seed(0)
    return RT1(MaxViT())


def step(model):
    video = torch.randn(16, 3, 4, 16, 16)
    instructions = [
        'bring me that apple sitting on the table',
        'please pass the butter',
    ]
    train_logits = model(video, instructions)
    actions = torch.randint(0, 16, train_logits.shape[:3])
    return nn.functional.cross_entropy(train_logits.flatten(0, 2), actions.flatten())


# real fix: as many instructions as videos
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['input'], dim=0, got=8, wanted=64,
             hint_any=['64', '16', 'instruction', 'batch', '2'])
MENDED = [("""        'please pass the butter',
    ]
""", """        'please pass the butter',
    ] * 8
""")]
