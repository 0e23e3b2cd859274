import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, IMAGE, PATCH, DIM, HEADS, CLASSES = 4, 24, 6, 32, 4, 9


class PatchEmbed(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Conv2d(3, DIM, kernel_size=PATCH, stride=PATCH)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class ViT(nn.Module):
    def __init__(self):
        super().__init__()
        patches = (IMAGE // PATCH) ** 2
        self.patch_embed = PatchEmbed()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, DIM))
        self.pos_embed = nn.Parameter(torch.randn(1, patches + 1, DIM) * 0.02)
        layer = nn.TransformerEncoderLayer(
            DIM, HEADS, dim_feedforward=DIM * 2, dropout=0.0, batch_first=True
        )
        self.encoder = nn.TransformerEncoder(
            layer, num_layers=2, enable_nested_tensor=False
        )
        self.norm = nn.LayerNorm(DIM)
        self.head = nn.Linear(DIM, CLASSES)

    def forward(self, x):
        x = self.patch_embed(x)
        cls = self.cls_token.expand(x.shape[0], -1, -1)
        x = torch.cat([cls, x], dim=1) + self.pos_embed
        x = self.encoder(x)
        return self.head(self.norm(x[:, 0]))


def build():
    return ViT()


def step(model):
    images = torch.randn(BATCH, 3, IMAGE, IMAGE)
    labels = torch.randint(0, CLASSES, (BATCH,))
    return F.cross_entropy(model(images), labels, label_smoothing=0.1)


EQUAL = dict(BATCH=4, IMAGE=16, PATCH=4, DIM=16, HEADS=4, CLASSES=4)
