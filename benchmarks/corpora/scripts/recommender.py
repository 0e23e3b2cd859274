import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, USERS, ITEMS, DIM, GENRES = 15, 40, 60, 8, 5


class Recommender(nn.Module):
    def __init__(self):
        super().__init__()
        self.user = nn.Embedding(USERS, DIM)
        self.item = nn.Embedding(ITEMS, DIM)
        self.user_bias = nn.Embedding(USERS, 1)
        self.mlp = nn.Sequential(
            nn.Linear(DIM * 2 + GENRES, 32), nn.ReLU(), nn.Linear(32, 1)
        )

    def forward(self, user, item, genres):
        u, i = self.user(user), self.item(item)
        dot = (u * i).sum(dim=1)
        deep = self.mlp(torch.cat([u, i, genres], dim=1)).squeeze(1)
        return dot + deep + self.user_bias(user).squeeze(1)


def build():
    return Recommender()


def step(model):
    user = torch.randint(0, USERS, (BATCH,))
    item = torch.randint(0, ITEMS, (BATCH,))
    genres = torch.randint(0, 2, (BATCH, GENRES)).float()
    clicked = torch.randint(0, 2, (BATCH,)).float()
    scores = model(user, item, genres)
    return F.binary_cross_entropy_with_logits(scores, clicked)


EQUAL = dict(BATCH=8, USERS=8, ITEMS=8, DIM=8, GENRES=8)
