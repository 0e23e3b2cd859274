import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/wqshmzh/CANet-CZSL/issues/7'
CATEGORY = 'layer'
DESCRIPTION = 'Compositional zero-shot learning: the stored image features were taken behind the average pooling, (512, 1, 1) for each image, the embedders are linear layers.'


class MLP(nn.Module):
    def __init__(self, inp_dim, latent_dim, num_layers=2, dropout=True, norm=True):
        super().__init__()
        mod = []
        for layer in range(num_layers - 1):
            mod.append(nn.Linear(inp_dim, inp_dim))
            if norm:
                mod.append(nn.LayerNorm(inp_dim))
            mod.append(nn.ReLU(True))
            if dropout:
                mod.append(nn.Dropout(0.3))
        mod.append(nn.Linear(inp_dim, latent_dim))
        self.mod = nn.Sequential(*mod)

    def forward(self, x):
        return self.mod(x)


class CANet(nn.Module):
    def __init__(self, feat_dim=512, emb_dim=60, n_attrs=16, n_objs=12):
        super().__init__()
        self.image_embedder_attr = MLP(feat_dim, emb_dim)
        self.image_embedder_obj = MLP(feat_dim, emb_dim)
        self.attr_embedder = nn.Embedding(n_attrs, emb_dim)
        self.obj_embedder = nn.Embedding(n_objs, emb_dim)
        self.temperature = 0.05

    def score(self, visual, words):
        return F.normalize(visual, dim=-1) @ F.normalize(words, dim=-1).t() / self.temperature

    def forward(self, x, attrs, objs):
        omega = self.image_embedder_attr(x)
        phi = self.image_embedder_obj(x)
        loss_attr = F.cross_entropy(self.score(omega, self.attr_embedder.weight), attrs)
        loss_obj = F.cross_entropy(self.score(phi, self.obj_embedder.weight), objs)
        return loss_attr + loss_obj


class CompositionDataset(Dataset):
    def __init__(self, phase='train', images=32):
        self.phase = phase
        self.train_data = [(f'{i:04d}.jpg', i % 16, i % 12) for i in range(images)]
        self.activations = self.load_features()

    def load_features(self):
        return {image: torch.rand(512, 1, 1) for image, attr, obj in self.train_data}

    def __len__(self):
        return len(self.train_data)

    def __getitem__(self, index):
        image, attr, obj = self.train_data[index]
        img = self.activations[image]
        return img, attr, obj


def build():
    return CANet()


def step(model):
    img, attr, obj = next(iter(DataLoader(CompositionDataset(), batch_size=8, shuffle=True)))
    return model(img, attr, obj)


TRUTH = dict(raises='RuntimeError', at='module:image_embedder_attr.mod.0', culprits=['input'], dim=None, got=None, wanted=None,
             hint_any=['squeeze', 'flatten', '512', 'view'])
MENDED = [('img = self.activations[image]', 'img = self.activations[image].squeeze()')]
