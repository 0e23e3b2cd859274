import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, PIXELS, WORDS, LENGTH, DIM = 6, 20, 35, 8, 16


class TwoTowers(nn.Module):
    def __init__(self):
        super().__init__()
        self.image_encoder = nn.Sequential(
            nn.Linear(PIXELS, 32), nn.ReLU(), nn.Linear(32, DIM)
        )
        self.text_embedding = nn.Embedding(WORDS, DIM)
        self.text_proj = nn.Linear(DIM, DIM)
        self.temperature = nn.Parameter(torch.tensor(0.07))

    def forward(self, images, tokens):
        image_features = F.normalize(self.image_encoder(images), dim=-1)
        words = self.text_embedding(tokens)
        text_features = F.normalize(self.text_proj(words.mean(dim=1)), dim=-1)
        return image_features @ text_features.t() / self.temperature


def build():
    return TwoTowers()


def step(model):
    images = torch.randn(BATCH, PIXELS)
    tokens = torch.randint(0, WORDS, (BATCH, LENGTH))
    logits = model(images, tokens)
    labels = torch.arange(images.shape[0])
    loss_i = F.cross_entropy(logits, labels)
    loss_t = F.cross_entropy(logits.t(), labels)
    return (loss_i + loss_t) / 2


EQUAL = dict(BATCH=8, PIXELS=8, WORDS=8, LENGTH=8, DIM=8)
