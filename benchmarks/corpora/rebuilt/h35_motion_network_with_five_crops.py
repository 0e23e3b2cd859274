import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/jeffreyyihuang/two-stream-action-recognition/issues/39'
CATEGORY = 'loss'
DESCRIPTION = 'Two-stream motion CNN: five crops of every optical flow stack go into the batch, the labels stay one per video.'


class BasicBlock(nn.Module):
    def __init__(self, inplanes, planes, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Conv2d(inplanes, planes, 1, stride, bias=False)

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(out)) + self.downsample(x))


class MotionNet(nn.Module):
    def __init__(self, nb_classes=101, channel=20):
        super().__init__()
        self.conv1_custom = nn.Conv2d(channel, 16, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = BasicBlock(16, 16)
        self.layer2 = BasicBlock(16, 32, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc_custom = nn.Linear(32, nb_classes)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1_custom(x)))
        x = self.avgpool(self.layer2(self.layer1(x)))
        return self.fc_custom(x.view(x.size(0), -1))


def five_crop(flow, size):
    h, w = flow.shape[-2:]
    corners = [(0, 0), (0, w - size), (h - size, 0), (h - size, w - size), ((h - size) // 2, (w - size) // 2)]
    return torch.stack([flow[:, y:y + size, x:x + size] for y, x in corners])


class MotionDataset(Dataset):
    def __init__(self, videos, in_channel=10, img_size=40, crop=32):
        self.videos, self.in_channel, self.img_size, self.crop = videos, in_channel, img_size, crop

    def __len__(self):
        return len(self.videos)

    def stack_opf(self, video):
        u = torch.rand(self.in_channel, self.img_size, self.img_size)
        v = torch.rand(self.in_channel, self.img_size, self.img_size)
        return torch.stack([u, v], dim=1).flatten(0, 1)

    def __getitem__(self, idx):
        video, label = self.videos[idx]
        return five_crop(self.stack_opf(video), self.crop), label


class Trainer:
    def __init__(self, model, loader):
        self.model, self.loader = model, loader
        self.criterion = nn.CrossEntropyLoss()

    def train_1epoch(self):
        self.model.train()
        for data, label in self.loader:
            b, ncrops, c, h, w = data.shape
            output = self.model(data.view(-1, c, h, w))
            loss = self.criterion(output, label)
            return loss


def build():
    return MotionNet()


def step(model):
    videos = [(f'v_Archery_g{i:02d}', (7 * i) % 101) for i in range(10)]
    return Trainer(model, DataLoader(MotionDataset(videos), batch_size=5)).train_1epoch()


TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['target', 'function:view'], dim=0, got=5, wanted=25,
             hint_any=['crop', 'repeat', '25', 'batch'])
MENDED = [('self.criterion(output, label)', 'self.criterion(output, label.repeat_interleave(ncrops))')]
