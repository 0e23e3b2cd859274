import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/facebookresearch/mmf/issues/915'
CATEGORY = 'loss'
DESCRIPTION = 'Hateful memes: the losses of the configuration are changed from cross_entropy to bce, which wants targets of samples x classes, while the data set gives class numbers.'


class SampleList(dict):
    __getattr__ = dict.__getitem__


class BinaryCrossEntropyLoss(nn.Module):
    def forward(self, sample_list, model_output):
        scores = torch.sigmoid(model_output['scores'])
        targets = sample_list['targets']
        return F.binary_cross_entropy(scores, targets.float())


class CrossEntropyLoss(nn.Module):
    def forward(self, sample_list, model_output):
        return F.cross_entropy(model_output['scores'], sample_list['targets'])


LOSSES = {'bce': BinaryCrossEntropyLoss, 'cross_entropy': CrossEntropyLoss}


class CoAttention(nn.Module):
    def __init__(self, hidden, heads):
        super().__init__()
        self.v2t = nn.MultiheadAttention(hidden, heads, batch_first=True)
        self.t2v = nn.MultiheadAttention(hidden, heads, batch_first=True)

    def forward(self, v, t):
        return v + self.v2t(v, t, t)[0], t + self.t2v(t, v, v)[0]


class ViLBERT(nn.Module):
    def __init__(self, config):
        super().__init__()
        h = config['hidden_size']
        self.config = config
        self.text = nn.Embedding(60, h)
        self.image = nn.Linear(20, h)
        self.connect = nn.ModuleList([CoAttention(h, 4) for _ in range(config['layers'])])
        self.v_pooler, self.t_pooler = nn.Linear(h, h), nn.Linear(h, h)
        self.classifier = nn.Sequential(nn.Linear(h, h), nn.GELU(), nn.LayerNorm(h), nn.Linear(h, config['num_labels']))

    def forward(self, sample_list):
        v, t = self.image(sample_list.image_feature_0), self.text(sample_list.input_ids)
        for layer in self.connect:
            v, t = layer(v, t)
        pooled = torch.relu(self.v_pooler(v[:, 0])) * torch.relu(self.t_pooler(t[:, 0]))
        return {'scores': self.classifier(pooled).view(-1, self.config['num_labels'])}


CONFIG = dict(hidden_size=32, layers=2, num_labels=2, training_head_type='classification',
              losses=['bce'])


def build():
    torch.manual_seed(0)
    return ViLBERT(CONFIG)


def step(model):
    batch = SampleList(image_feature_0=torch.randn(32, 9, 20), input_ids=torch.randint(0, 60, (32, 12)),
                       targets=torch.randint(0, 2, (32,)))
    output = model(batch)
    return sum(LOSSES[name]()(batch, output) for name in CONFIG['losses'])


# the maintainer: give N x C targets, or use cross_entropy, the default
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy', culprits=['target'], dim=None, got=None, wanted=None,
             hint_any=['one_hot', 'one-hot', 'cross_entropy', 'class'])
MENDED = [("losses=['bce']", "losses=['cross_entropy']")]
