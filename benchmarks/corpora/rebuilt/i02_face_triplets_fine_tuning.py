import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import Dataset, DataLoader

SOURCE = 'https://github.com/deepinsight/insightface/issues/762 (MXNet there: expected [10,512], got [11,512])'
CATEGORY = 'loss'
DESCRIPTION = 'Face recognition fine-tuned with triplets: anchor, positive and negative follow each other in the batch, whose size of 32 is no multiple of three.'


class FaceTripletDataset(Dataset):
    """Images ordered anchor, positive, negative, anchor, ..."""

    def __init__(self, triplets=64):
        self.images = torch.randn(3 * triplets, 3, 28, 28)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i]


class MobileFace(nn.Module):
    def __init__(self, emb_size=512):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.PReLU(8),
            nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.PReLU(16))
        self.output = nn.Sequential(nn.Flatten(), nn.Linear(16 * 49, emb_size), nn.BatchNorm1d(emb_size))

    def forward(self, x):
        return F.normalize(self.output(self.features(x)))


def split_triplets(embedding):
    return embedding[0::3], embedding[1::3], embedding[2::3]


class Config:
    per_batch_size = 32
    triplet_alpha = 0.3


def build():
    return MobileFace()


def step(model):
    loader = DataLoader(FaceTripletDataset(), batch_size=Config.per_batch_size, shuffle=False)
    images = next(iter(loader))
    anchor, positive, negative = split_triplets(model(images))
    return F.triplet_margin_loss(anchor, positive, negative, margin=Config.triplet_alpha)


# real fix (thread): a batch size that can be divided by 3, like 24, 96, 120
TRUTH = dict(raises='RuntimeError', at='loss:triplet_margin_loss', culprits=['input', 'function:getitem'],
             dim=0, got=10, wanted=11, hint_any=['batch', '32', 'multiple', 'divis', 'step'])
MENDED = [('per_batch_size = 32', 'per_batch_size = 24')]
