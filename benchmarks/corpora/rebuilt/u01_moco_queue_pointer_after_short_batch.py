import copy

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/daooshee/HLA-Face-Code/issues/12'
CATEGORY = 'layer'
DESCRIPTION = 'MoCo queue of 48 keys: a short last batch of 8 moves the pointer to 40, and the next full batch of 16 does not fit behind it.'


class TwoCrops(Dataset):
    def __init__(self, size=40):
        self.images = torch.rand(size, 3, 16, 16)

    def __len__(self):
        return len(self.images)

    def augment(self, img):
        if torch.rand(1) < 0.5:
            img = img.flip(-1)
        return img + 0.05 * torch.randn_like(img)

    def __getitem__(self, i):
        return self.augment(self.images[i]), self.augment(self.images[i])


class Encoder(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1))
        self.mlp = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, dim))

    def forward(self, x):
        return F.normalize(self.mlp(self.features(x).flatten(1)), dim=1)


class MoCo(nn.Module):
    def __init__(self, dim=32, K=48, m=0.99, T=0.07):
        super().__init__()
        self.K, self.m, self.T = K, m, T
        self.encoder_q = Encoder(dim)
        self.encoder_k = copy.deepcopy(self.encoder_q)
        for p in self.encoder_k.parameters():
            p.requires_grad = False
        self.register_buffer('queue', F.normalize(torch.randn(dim, K), dim=0))
        self.register_buffer('queue_ptr', torch.zeros(1, dtype=torch.long))

    @torch.no_grad()
    def _momentum_update_key_encoder(self):
        for q, k in zip(self.encoder_q.parameters(), self.encoder_k.parameters()):
            k.data = k.data * self.m + q.data * (1. - self.m)

    @torch.no_grad()
    def _dequeue_and_enqueue(self, keys):
        batch_size = keys.shape[0]
        ptr = int(self.queue_ptr)
        assert self.K % batch_size == 0  # for simplicity
        self.queue[:, ptr:ptr + batch_size] = keys.T
        ptr = (ptr + batch_size) % self.K
        self.queue_ptr[0] = ptr

    def forward(self, im_q, im_k):
        q = self.encoder_q(im_q)
        with torch.no_grad():
            self._momentum_update_key_encoder()
            k = self.encoder_k(im_k)
        l_pos = torch.einsum('nc,nc->n', [q, k]).unsqueeze(-1)
        l_neg = torch.einsum('nc,ck->nk', [q, self.queue.clone().detach()])
        logits = torch.cat([l_pos, l_neg], dim=1) / self.T
        labels = torch.zeros(logits.shape[0], dtype=torch.long)
        self._dequeue_and_enqueue(k)
        return logits, labels


def get_loader():
    return DataLoader(TwoCrops(), batch_size=16, shuffle=True)


def build():
    return MoCo()


def step(model):
    optimizer = torch.optim.SGD(model.encoder_q.parameters(), lr=0.03)
    loader = get_loader()
    for epoch in range(2):
        for im_q, im_k in loader:
            output, target = model(im_q, im_k)
            loss = F.cross_entropy(output, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return loss


# real fix: drop_last=True in the loader (or an enqueue that wraps around the end of the queue)
# offending tensor: keys.T (32, 16), written into queue[:, 40:56], which has only 8 columns left
TRUTH = dict(raises='RuntimeError', at='function:setitem', culprits=['input', 'function:setitem'], dim=1, got=16, wanted=8,
             hint_any=['drop_last', 'last batch', 'batch size', 'queue', 'pointer', 'slice'])
MENDED = [('DataLoader(TwoCrops(), batch_size=16, shuffle=True)', 'DataLoader(TwoCrops(), batch_size=16, shuffle=True, drop_last=True)')]
