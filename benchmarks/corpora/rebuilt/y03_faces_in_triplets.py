import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/liorshk/facenet_pytorch/issues/6'
CATEGORY = 'silent'
DESCRIPTION = 'Face vectors as in FaceNet: hard triplets of a batch are chosen, a triplet loss and the classification of the persons are added.'


class TripletFaces(Dataset):
    def __init__(self, n_triplets=24, num_classes=6):
        self.faces = torch.rand(num_classes, 4, 3, 24, 24)
        self.triplets = []
        for _ in range(n_triplets):
            c1, c2 = torch.randperm(num_classes)[:2].tolist()
            a, p = torch.randperm(4)[:2].tolist()
            n = int(torch.randint(0, 4, (1,)))
            self.triplets.append((a, p, n, c1, c2))

    def __len__(self):
        return len(self.triplets)

    def __getitem__(self, i):
        a, p, n, c1, c2 = self.triplets[i]
        return self.faces[c1, a], self.faces[c1, p], self.faces[c2, n], c1, c2


class PairwiseDistance(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.norm = p

    def forward(self, x1, x2):
        assert x1.size() == x2.size()
        diff = torch.abs(x1 - x2)
        out = torch.pow(diff, self.norm).sum(dim=1)
        return torch.pow(out + 1e-4 / x1.size(1), 1. / self.norm)


class TripletMarginLoss(nn.Module):
    def __init__(self, margin):
        super().__init__()
        self.margin = margin
        self.pdist = PairwiseDistance(2)

    def forward(self, anchor, positive, negative):
        d_p = self.pdist(anchor, positive)
        d_n = self.pdist(anchor, negative)
        return torch.clamp(self.margin + d_p - d_n, min=0.0).mean()


class FaceModel(nn.Module):
    def __init__(self, embedding_size=32, num_classes=6):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 5, 2, 2), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
        self.fc = nn.Linear(32 * 4, embedding_size)
        self.classifier = nn.Linear(embedding_size, num_classes)

    def l2_norm(self, x):
        return x / (x.pow(2).sum(1, keepdim=True) + 1e-10).sqrt()

    def forward(self, x):
        x = self.features(x)
        x = self.fc(x.view(x.size(0), -1))
        self.features_out = self.l2_norm(x) * 10
        return self.features_out

    def forward_classifier(self, x):
        return self.classifier(self.forward(x))


l2_dist = PairwiseDistance(2)


def build():
    return FaceModel()


def train(train_loader, model, optimizer, margin=5.0):
    model.train()
    total = 0.
    for data_a, data_p, data_n, label_p, label_n in train_loader:
        out_a, out_p, out_n = model(data_a), model(data_p), model(data_n)

        # Choose the hard negatives
        d_p = l2_dist(out_a, out_p)
        d_n = l2_dist(out_a, out_n)
        hard = (d_n - d_p < margin).cpu().data.numpy().flatten()
        hard_triplets = np.where(hard == 1)
        if len(hard_triplets[0]) == 0:
            continue
        out_selected_a = torch.from_numpy(out_a.cpu().data.numpy()[hard_triplets])
        out_selected_p = torch.from_numpy(out_p.cpu().data.numpy()[hard_triplets])
        out_selected_n = torch.from_numpy(out_n.cpu().data.numpy()[hard_triplets])

        selected_data_a = torch.from_numpy(data_a.cpu().data.numpy()[hard_triplets])
        selected_data_p = torch.from_numpy(data_p.cpu().data.numpy()[hard_triplets])
        selected_data_n = torch.from_numpy(data_n.cpu().data.numpy()[hard_triplets])
        selected_label_p = torch.from_numpy(label_p.cpu().numpy()[hard_triplets])
        selected_label_n = torch.from_numpy(label_n.cpu().numpy()[hard_triplets])
        triplet_loss = TripletMarginLoss(margin)(out_selected_a, out_selected_p, out_selected_n)

        cls_a = model.forward_classifier(selected_data_a)
        cls_p = model.forward_classifier(selected_data_p)
        cls_n = model.forward_classifier(selected_data_n)
        predicted_labels = torch.cat([cls_a, cls_p, cls_n])
        true_labels = torch.cat([selected_label_p, selected_label_p, selected_label_n])
        cross_entropy_loss = F.cross_entropy(predicted_labels, true_labels)

        loss = cross_entropy_loss + triplet_loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total = total + loss.detach()
    return total / len(train_loader)


def step(model):
    loader = DataLoader(TripletFaces(), batch_size=8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, dampening=0.9)
    return train(loader, model, optimizer)


# the chosen embeddings go through .data.numpy(): new tensors without a graph; the triplet loss is a number that trains nothing
TRUTH = dict(raises=None, at=None, culprits=['function:numpy', 'function:from_numpy'], dim=None, got=None, wanted=None,
             hint_any=['detach', 'no gradient', 'numpy', 'graph', 'gradient', 'constant'])
MENDED = [('out_selected_a = torch.from_numpy(out_a.cpu().data.numpy()[hard_triplets])', 'out_selected_a = out_a[hard_triplets]'),
          ('out_selected_p = torch.from_numpy(out_p.cpu().data.numpy()[hard_triplets])', 'out_selected_p = out_p[hard_triplets]'),
          ('out_selected_n = torch.from_numpy(out_n.cpu().data.numpy()[hard_triplets])', 'out_selected_n = out_n[hard_triplets]')]
