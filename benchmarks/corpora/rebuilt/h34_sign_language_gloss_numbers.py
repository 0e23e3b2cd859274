import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/dxli94/WLASL/issues/18 (shapes of the issue; how the author of the issue read the labels is rebuilt)'
CATEGORY = 'loss'
DESCRIPTION = 'Sign language I3D: the localisation loss compares logits of every frame (B, classes, T) with a label, the data set returns just the number of the gloss.'


class Unit3D(nn.Module):
    def __init__(self, in_channels, output_channels, kernel, stride=(1, 1, 1), batch_norm=True, activation=True):
        super().__init__()
        pad = tuple(k // 2 for k in kernel)
        self.conv3d = nn.Conv3d(in_channels, output_channels, kernel, stride, pad, bias=not batch_norm)
        self.bn = nn.BatchNorm3d(output_channels) if batch_norm else nn.Identity()
        self.activation = activation

    def forward(self, x):
        x = self.bn(self.conv3d(x))
        return F.relu(x) if self.activation else x


class InceptionI3d(nn.Module):
    def __init__(self, num_classes=400, in_channels=3):
        super().__init__()
        self.Conv3d_1a = Unit3D(in_channels, 8, (3, 3, 3), (2, 2, 2))
        self.Conv3d_2b = Unit3D(8, 16, (3, 3, 3), (2, 2, 2))
        self.avg_pool = nn.AdaptiveAvgPool3d((None, 1, 1))
        self.dropout = nn.Dropout(0.5)
        self.replace_logits(num_classes)

    def replace_logits(self, num_classes):
        self.logits = Unit3D(16, num_classes, (1, 1, 1), batch_norm=False, activation=False)

    def forward(self, x):
        x = self.Conv3d_2b(self.Conv3d_1a(x))
        x = self.logits(self.dropout(self.avg_pool(x)))
        return x.squeeze(3).squeeze(3)


class NSLT(Dataset):
    def __init__(self, videos=6, num_classes=75, total_frames=32):
        self.num_classes = num_classes
        self.total_frames = total_frames
        self.data = [(f'{i:05d}', i % num_classes) for i in range(videos)]

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        vid, gloss = self.data[index]
        imgs = torch.rand(self.total_frames, 24, 24, 3) * 2 - 1
        label = torch.tensor(float(gloss))
        return imgs.permute(3, 0, 1, 2), label, vid


def build():
    i3d = InceptionI3d(400)
    i3d.replace_logits(75)
    return i3d


def step(model):
    inputs, labels, vid = next(iter(DataLoader(NSLT(), batch_size=3)))
    t = inputs.size(2)
    per_frame_logits = model(inputs)
    per_frame_logits = F.interpolate(per_frame_logits, t, mode='linear')

    loc_loss = F.binary_cross_entropy_with_logits(per_frame_logits, labels)
    cls_loss = F.binary_cross_entropy_with_logits(torch.max(per_frame_logits, dim=2)[0], torch.max(labels, dim=2)[0])
    return 0.5 * loc_loss + 0.5 * cls_loss


TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy_with_logits', culprits=['target'], dim=None, got=None, wanted=None,
             hint_any=['one-hot', 'one hot', 'multi-hot', 'frame', '75', 'class'])
MENDED = [('label = torch.tensor(float(gloss))', 'label = torch.zeros(self.num_classes, self.total_frames); label[gloss] = 1.0')]
