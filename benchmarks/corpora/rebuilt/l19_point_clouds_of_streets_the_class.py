import numpy as np
import torch
import torch.nn as nn

SOURCE = 'https://github.com/tsunghan-wu/RandLA-Net-pytorch/issues/26'
CATEGORY = 'loss'
DESCRIPTION = 'Point clouds of streets: the class weights come from the data set as one row of a table, (1, 19).'


class ConfigSemanticKITTI:
    num_classes, num_layers, d_out = 19, 2, [16, 32]
    ignored_labels = [0]


class SemanticKITTI:
    def __init__(self, cfg, n_clouds=4, n_points=128):
        rng = np.random.RandomState(2)
        self.num_classes, self.ignored_labels = cfg.num_classes, cfg.ignored_labels
        self.xyz = rng.randn(n_clouds, n_points, 3).astype(np.float32)
        self.labels = rng.randint(0, cfg.num_classes + 1, (n_clouds, n_points))

    def get_class_weight(self):
        num_per_class = np.bincount(self.labels.ravel(), minlength=self.num_classes + 1)[1:].astype(float)
        weight = num_per_class / float(sum(num_per_class))
        ce_label_weight = 1 / (weight + 0.02)
        return np.expand_dims(ce_label_weight, axis=0)

    def batch(self):
        return {'features': torch.from_numpy(self.xyz).transpose(1, 2), 'labels': torch.from_numpy(self.labels).long()}


class SharedMLP(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.conv, self.bn = nn.Conv1d(i, o, 1), nn.BatchNorm1d(o)

    def forward(self, x):
        return torch.relu(self.bn(self.conv(x)))


class Network(nn.Module):
    def __init__(self, config):
        super().__init__()
        dims = [8] + config.d_out
        self.fc0 = SharedMLP(3, 8)
        self.dilated_res_blocks = nn.ModuleList([SharedMLP(a, b) for a, b in zip(dims, dims[1:])])
        self.fc1 = SharedMLP(dims[-1] * 2, 32)
        self.fc3 = nn.Conv1d(32, config.num_classes, 1)

    def forward(self, end_points):
        features = self.fc0(end_points['features'])
        for block in self.dilated_res_blocks:
            features = block(features)
        pooled = features.max(dim=2, keepdim=True)[0].expand_as(features)
        features = self.fc1(torch.cat([features, pooled], dim=1))
        end_points['logits'] = self.fc3(features)
        return end_points


def compute_loss(end_points, dataset, criterion):
    logits = end_points['logits'].transpose(1, 2).reshape(-1, dataset.num_classes)
    labels = end_points['labels'].reshape(-1)
    ignored_bool = torch.zeros_like(labels, dtype=torch.bool)
    for ign_label in dataset.ignored_labels:
        ignored_bool = ignored_bool | (labels == ign_label)
    valid_logits = logits[~ignored_bool, :]
    valid_labels = labels[~ignored_bool] - 1
    loss = criterion(valid_logits, valid_labels).mean()
    return loss, end_points


class Trainer(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.train_dataset = SemanticKITTI(cfg)
        self.net = Network(cfg)
        class_weights = torch.from_numpy(self.train_dataset.get_class_weight()).float()
        self.criterion = nn.CrossEntropyLoss(weight=class_weights, reduction='none')

    def forward(self, batch_data):
        end_points = self.net(batch_data)
        return compute_loss(end_points, self.train_dataset, self.criterion)


def build():
    torch.manual_seed(0)
    return Trainer(ConfigSemanticKITTI())


def step(model):
    loss, end_points = model(model.train_dataset.batch())
    return loss


# real fix: class_weights.squeeze(0)
TRUTH = dict(raises='RuntimeError', at='loss:cross_entropy', culprits=['criterion'], dim=None, got=None, wanted=None,
             hint_any=['weight', '19', 'squeeze'])
MENDED = [('nn.CrossEntropyLoss(weight=class_weights, ', 'nn.CrossEntropyLoss(weight=class_weights.squeeze(0), ')]
