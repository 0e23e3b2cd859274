import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://github.com/NegatioN/OnlineMiningTripletLoss/issues/18'
CATEGORY = 'loss'
DESCRIPTION = 'batch_hard_triplet_loss is given the labels of the whole data set together with the embeddings of one batch.'


def _pairwise_distances(embeddings, squared=False):
    dot_product = torch.matmul(embeddings, embeddings.t())
    square_norm = torch.diag(dot_product)
    distances = square_norm.unsqueeze(0) - 2.0 * dot_product + square_norm.unsqueeze(1)
    distances = distances.clamp(min=0)
    if not squared:
        mask = distances.eq(0).float()
        distances = (1.0 - mask) * torch.sqrt(distances + mask * 1e-16)
    return distances


def _get_anchor_positive_triplet_mask(labels):
    indices_not_equal = ~torch.eye(labels.size(0), dtype=torch.bool)
    labels_equal = labels.unsqueeze(0) == labels.unsqueeze(1)
    return labels_equal & indices_not_equal


def _get_anchor_negative_triplet_mask(labels):
    return ~(labels.unsqueeze(0) == labels.unsqueeze(1))


def batch_hard_triplet_loss(labels, embeddings, margin, squared=False):
    pairwise_dist = _pairwise_distances(embeddings, squared)
    mask_anchor_positive = _get_anchor_positive_triplet_mask(labels).float()
    anchor_positive_dist = mask_anchor_positive * pairwise_dist
    hardest_positive_dist, _ = anchor_positive_dist.max(1, keepdim=True)

    mask_anchor_negative = _get_anchor_negative_triplet_mask(labels).float()
    max_anchor_negative_dist, _ = pairwise_dist.max(1, keepdim=True)
    anchor_negative_dist = pairwise_dist + max_anchor_negative_dist * (1.0 - mask_anchor_negative)
    hardest_negative_dist, _ = anchor_negative_dist.min(1, keepdim=True)

    tl = hardest_positive_dist - hardest_negative_dist + margin
    return tl.clamp(min=0).mean()


net = dict(in_dim=40, emb=100)


def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(net['in_dim'], 64), nn.ReLU(), nn.Linear(64, net['emb']))


def step(model):
    X = torch.randn(96, net['in_dim'])
    y = torch.arange(96) % 6
    train_loader = DataLoader(TensorDataset(X, y), batch_size=32, shuffle=True)
    running = []
    for inputs, targets in train_loader:
        embeddings = model(inputs)
        running.append(batch_hard_triplet_loss(y, embeddings, margin=0.2))
    return torch.stack(running).mean()


# real fix: pass the labels of the batch (targets)
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['target'], dim=0, got=96, wanted=32,
             hint_any=['label', 'target', 'batch', 'whole', 'data set', 'dataset'])
MENDED = [('batch_hard_triplet_loss(y, embeddings', 'batch_hard_triplet_loss(targets, embeddings')]
