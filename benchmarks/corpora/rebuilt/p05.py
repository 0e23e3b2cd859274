import torch
import torch.nn as nn

SOURCE = 'https://github.com/jeonsworld/MLP-Mixer-Pytorch/issues/3'
CATEGORY = 'loss'
DESCRIPTION = 'MLP-Mixer: the training loop keeps `model(x)[0]` from a transformer that returned a tuple; here it picks the first image.'


class MlpBlock(nn.Module):
    def __init__(self, hidden_dim, ff_dim):
        super().__init__()
        self.fc0 = nn.Linear(hidden_dim, ff_dim)
        self.fc1 = nn.Linear(ff_dim, hidden_dim)
        self.act_fn = nn.GELU()

    def forward(self, x):
        return self.fc1(self.act_fn(self.fc0(x)))


class MixerBlock(nn.Module):
    def __init__(self, n_patches, hidden_dim, tokens_dim, channels_dim):
        super().__init__()
        self.token_mlp_block = MlpBlock(n_patches, tokens_dim)
        self.channel_mlp_block = MlpBlock(hidden_dim, channels_dim)
        self.pre_norm = nn.LayerNorm(hidden_dim, eps=1e-6)
        self.post_norm = nn.LayerNorm(hidden_dim, eps=1e-6)

    def forward(self, x):
        h = x
        x = self.pre_norm(x).transpose(-1, -2)
        x = self.token_mlp_block(x).transpose(-1, -2)
        x = x + h
        return x + self.channel_mlp_block(self.post_norm(x))


class MlpMixer(nn.Module):
    def __init__(self, num_classes=10, img_size=32, patch=8, hidden_dim=48, num_blocks=2):
        super().__init__()
        n_patches = (img_size // patch) ** 2
        self.stem = nn.Conv2d(3, hidden_dim, patch, patch)
        self.layer = nn.ModuleList([MixerBlock(n_patches, hidden_dim, 24, 96) for _ in range(num_blocks)])
        self.pre_head_ln = nn.LayerNorm(hidden_dim, eps=1e-6)
        self.head = nn.Linear(hidden_dim, num_classes)

    def forward(self, x):
        x = self.stem(x).flatten(2).transpose(-1, -2)
        for block in self.layer:
            x = block(x)
        x = self.pre_head_ln(x)
        return self.head(torch.mean(x, dim=1))


def build():
    return MlpMixer()


def train(args, model, loader):
    loss_fct, losses = nn.CrossEntropyLoss(), 0.
    model.train()
    for batch in loader:
        x, y = batch
        logits = model(x)[0]
        loss = loss_fct(logits, y)
        if args['gradient_accumulation_steps'] > 1:
            loss = loss / args['gradient_accumulation_steps']
        losses = losses + loss
    return losses


def step(model):
    loader = [(torch.randn(64, 3, 32, 32), torch.randint(0, 10, (64,)))]
    return train(dict(gradient_accumulation_steps=2), model, loader)


# real fix: remove the [0]
# offending tensor: logits (10,), (64, 10) expected
TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['function:getitem'], dim=0, got=10, wanted=64,
             hint_any=['[0]', 'getitem', 'index', 'select', 'batch'])
MENDED = [('logits = model(x)[0]', 'logits = model(x)')]
