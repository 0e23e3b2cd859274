import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = ('https://github.com/jbohnslav/deepethogram/issues/98 (also issue 61 there: softmax for behaviours that exclude each other is unfinished; the loader\'s '
          'switch that turns rows into class numbers is ours after its code)')
CATEGORY = 'loss'
DESCRIPTION = ('Behaviour in every frame of a video: final_activation is switched from sigmoid to softmax and so to a log-likelihood loss, the sequence data set still '
               'hands out one row for each behaviour, (16, 9, 180).')


class TGMLayer(nn.Module):
    def __init__(self, D, n_filters, filter_length, c_in, c_out):
        super().__init__()
        self.D, self.n_filters, self.filter_length, self.c_in, self.c_out = D, n_filters, filter_length, c_in, c_out
        self.center = nn.Parameter(torch.randn(n_filters))
        self.width = nn.Parameter(torch.zeros(n_filters))
        self.soft_attention_weights = nn.Parameter(torch.randn(c_out, c_in, n_filters))

    def temporal_kernels(self):
        t = torch.arange(self.filter_length).float() - self.filter_length // 2
        sigma = torch.exp(self.width)[:, None] + 1e-2
        k = torch.exp(-(t[None] - torch.tanh(self.center)[:, None] * self.filter_length / 2) ** 2 / (2 * sigma ** 2))
        return k / (k.sum(1, keepdim=True) + 1e-6)

    def forward(self, x):
        N, c_in, D, T = x.shape
        kernels = self.temporal_kernels()
        w = torch.softmax(self.soft_attention_weights, dim=-1) @ kernels
        x = x.permute(0, 2, 1, 3).reshape(N * D, c_in, T)
        x = F.conv1d(x, w, padding=self.filter_length // 2)
        return x.view(N, D, self.c_out, -1).permute(0, 2, 1, 3)


class TGMJ(nn.Module):
    def __init__(self, D=48, n_filters=8, filter_length=15, input_dropout=0.5, num_features=32, num_layers=3, c_out=4, num_classes=9):
        super().__init__()
        self.input_dropout = nn.Dropout(input_dropout)
        self.tgm_layers = nn.Sequential(*[TGMLayer(D, n_filters, filter_length, 1 if i == 0 else c_out, c_out) for i in range(num_layers)])
        self.h = nn.Conv1d(D, num_features, 1)
        self.h2 = nn.Conv1d(D, num_features, 1)
        self.classify1 = nn.Sequential(nn.ReLU(), nn.Conv1d(2 * num_features, num_classes, 1))

    def forward(self, inputs):
        x = self.input_dropout(inputs)
        smoothed = self.tgm_layers(x.unsqueeze(1)).max(dim=1)[0]
        return self.classify1(torch.cat([self.h(x), self.h2(smoothed)], dim=1))


class SequenceDataset(torch.utils.data.Dataset):
    def __init__(self, num_videos, features=48, num_classes=9, sequence_length=180, reduce=False):
        self.reduce, self.num_classes = reduce, num_classes
        self.x = torch.randn(num_videos, features, sequence_length)
        self.y = torch.randint(0, num_classes, (num_videos, sequence_length))

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        labels = F.one_hot(self.y[index], self.num_classes).t()
        if self.reduce:
            labels = labels.argmax(0)
        return {'features': self.x[index], 'labels': labels}


def get_criterion(final_activation, pos_weight, weight):
    if final_activation == 'softmax':
        return nn.NLLLoss(weight=weight)
    return nn.BCEWithLogitsLoss(pos_weight=pos_weight[:, None])


class SequenceLightning(nn.Module):
    def __init__(self, model, cfg):
        super().__init__()
        self.model = model
        counts = torch.tensor([15827., 27292, 1877, 57454, 2526, 7117, 11966, 21385, 133045])
        self.criterion = get_criterion(cfg['final_activation'], counts.sum() / counts, counts.sum() / counts / 100)
        self.final_activation = cfg['final_activation']

    def training_step(self, batch):
        outputs = self.model(batch['features'])
        labels = batch['labels']
        if self.final_activation == 'sigmoid':
            labels = labels.float()
        else:
            outputs = F.log_softmax(outputs, dim=1)
        return self.criterion(outputs, labels)


def build():
    torch.manual_seed(0)
    return SequenceLightning(TGMJ(), {'final_activation': 'softmax'})


def step(model):
    loader = torch.utils.data.DataLoader(SequenceDataset(32), batch_size=16, shuffle=True)
    for batch in loader:
        loss = model.training_step(batch)
    return loss


TRUTH = dict(raises='RuntimeError', at='loss:nll_loss', culprits=['target'], dim=1, got=9, hint_any=['one-hot', 'one hot', 'class ind', 'argmax', 'index', 'bce'])
MENDED = [('SequenceDataset(32)', 'SequenceDataset(32, reduce=True)')]
