import torch
import torch.nn as nn

SOURCE = 'https://github.com/jiangqy/ADSH-AAAI2018/issues/5'
CATEGORY = 'loss'
DESCRIPTION = 'Deep hashing: the similarity loss is swapped for a multi-label loss, which is put on the 12-bit codes in place of scores for the 21 labels.'

opt = dict(bits=12, num_label=21, batch_size=64, num_samples=40, gamma=200., img=24)


class CNNNet(nn.Module):
    def __init__(self, code_length, num_label):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 5, 2, 2), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(inplace=True))
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.hash_layer = nn.Sequential(nn.Dropout(0.3), nn.Linear(64, 48), nn.ReLU(inplace=True), nn.Linear(48, code_length))
        self.label_layer = nn.Linear(code_length, num_label)

    def forward(self, x):
        x = self.pool(self.features(x)).flatten(1)
        return torch.tanh(self.hash_layer(x))


class ADSHLoss(nn.Module):
    def __init__(self, gamma, code_length, num_train):
        super().__init__()
        self.gamma, self.code_length, self.num_train = gamma, code_length, num_train

    def forward(self, u, V, S, V_omega):
        square_loss = (u.mm(V.t()) - self.code_length * S) ** 2
        quantization_loss = self.gamma * (V_omega - u) ** 2
        return (square_loss.sum() + quantization_loss.sum()) / (self.num_train * u.size(0))


def calc_sim(train_label, database_label):
    S = (train_label.mm(database_label.t()) > 0).float()
    r = S.sum() / (1 - S).sum()
    return S * (1 + r) - r


class Nuswide:
    def __init__(self, o):
        self.o = o
        self.labels = (torch.rand(o['batch_size'] + o['num_samples'], o['num_label']) > 0.85).float()
        self.labels[:, 0] = 1
        self.images = torch.rand(len(self.labels), 3, o['img'], o['img'])

    def omega(self):
        index = torch.randperm(len(self.labels))
        return index[:self.o['batch_size']], index[self.o['batch_size']:]


def adsh_algo(o, model, criterion='multilabel'):
    data = Nuswide(o)
    train, _ = data.omega()
    V = torch.sign(torch.randn(len(data.labels), o['bits']))
    train_label = data.labels[train]
    output = model(data.images[train])
    if criterion == 'adsh':
        S = calc_sim(train_label, data.labels)
        return ADSHLoss(o['gamma'], o['bits'], len(data.labels))(output, V, S, V[train])
    quantization = ((output.abs() - 1) ** 2).mean()
    return nn.BCEWithLogitsLoss()(output, train_label) + 0.1 * quantization


def build():
    return CNNNet(opt['bits'], opt['num_label'])


def step(model):
    return adsh_algo(opt, model)


# real fix: scores for the labels from a layer on top of the codes, model.label_layer(output)
# offending tensor: output (64, 12), 21 labels
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy_with_logits', culprits=['hash_layer.3', 'hash_layer', '', 'function:tanh'], dim=1, got=12, wanted=21,
             hint_any=['label_layer', 'label', 'out_features', '21', 'never called', 'unused'])
MENDED = [('nn.BCEWithLogitsLoss()(output, train_label)', 'nn.BCEWithLogitsLoss()(model.label_layer(output), train_label)')]
