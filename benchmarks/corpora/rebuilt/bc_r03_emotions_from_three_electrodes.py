import torch
import torch.nn as nn

SOURCE = 'https://github.com/torcheeg/torcheeg/issues/117 (960x2 and 15x32; repaired in pull request 118 for small numbers of electrodes)'
CATEGORY = 'layer'
DESCRIPTION = ('EEG emotions with TSception: the spatial kernels cover all electrodes or one hemisphere. With three electrodes int(3 * 0.5) is one, so three '
               'positions come out where two hemispheres were meant.')


class TSCeption(nn.Module):
    def __init__(self, num_electrodes=28, num_T=15, num_S=15, in_channels=1, hid_channels=32, num_classes=2, sampling_rate=128, dropout=0.5):
        super().__init__()
        self.num_electrodes = num_electrodes
        self.inception_window = [0.5, 0.25, 0.125]
        self.pool = 8
        self.Tception = nn.ModuleList(self.conv_block(in_channels, num_T, (1, int(w * sampling_rate)), 1, self.pool) for w in self.inception_window)
        self.Sception1 = self.conv_block(num_T, num_S, (int(num_electrodes), 1), 1, int(self.pool * 0.25))
        self.Sception2 = self.conv_block(num_T, num_S, (int(num_electrodes * 0.5), 1), (int(num_electrodes * 0.5), 1), int(self.pool * 0.25))
        self.fusion_layer = self.conv_block(num_S, num_S, (3, 1), 1, 4)
        self.BN_t = nn.BatchNorm2d(num_T)
        self.BN_s = nn.BatchNorm2d(num_S)
        self.BN_fusion = nn.BatchNorm2d(num_S)
        self.fc = nn.Sequential(nn.Linear(num_S, hid_channels), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hid_channels, num_classes))

    def conv_block(self, in_channels, out_channels, kernel, stride, pool_kernel):
        return nn.Sequential(nn.Conv2d(in_channels, out_channels, kernel_size=kernel, stride=stride), nn.LeakyReLU(),
                             nn.AvgPool2d(kernel_size=(1, pool_kernel), stride=(1, pool_kernel)))

    def forward(self, x):
        out = torch.cat([block(x) for block in self.Tception], dim=-1)
        out = self.BN_t(out)
        z1 = self.Sception1(out)
        z2 = self.Sception2(out)
        out = self.BN_s(torch.cat((z1, z2), dim=2))
        out = self.BN_fusion(self.fusion_layer(out))
        out = torch.squeeze(torch.mean(out, dim=-1), dim=-1)
        return self.fc(out)


class ToTwoDimensions:
    def __call__(self, eeg):
        return eeg[None]


def load_epochs(num, electrodes, seconds=4, sampling_rate=128):
    to2d = ToTwoDimensions()
    recordings = torch.randn(num, electrodes, seconds * sampling_rate)
    return torch.stack([to2d(r) for r in recordings]), torch.randint(0, 2, (num,))


class ClassifierTrainer:
    def __init__(self, model):
        self.model, self.ce_fn = model, nn.CrossEntropyLoss()

    def training_step(self, batch):
        X, y = batch
        return self.ce_fn(self.model(X), y)


def build():
    torch.manual_seed(0)
    return TSCeption(num_classes=2, num_electrodes=3)


def step(model):
    return ClassifierTrainer(model).training_step(load_epochs(64, 3))


# input of fc.0 is (64, 15, 2): the fusion layer with its kernel of 3 got 1 + 3 positions instead of 1 + 2
# real fix: for small numbers of electrodes the hemisphere branch is padded to give two positions
TRUTH = dict(raises='RuntimeError', at='module:fc.0', culprits=['Sception2.0', 'fusion_layer.0'], dim=2, got=2, wanted=15,
             hint_any=['squeeze', 'sception2', 'fusion', 'electrode', 'kernel'])
MENDED = [('(int(num_electrodes * 0.5), 1), (int(num_electrodes * 0.5), 1)', '((num_electrodes + 1) // 2, 1), (num_electrodes // 2, 1)')]
