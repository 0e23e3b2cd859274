import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/yastrebksv/TennisCourtDetector/issues/7'
CATEGORY = 'silent'
DESCRIPTION = 'Tennis court key points as heat maps: the training loop never calls optimizer.zero_grad(), every step uses the sum of all gradients so far.'


class ConvBlock(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size=3, pad=1, stride=1, bias=True):
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel_size, stride=stride, padding=pad, bias=bias),
            nn.ReLU(),
            nn.BatchNorm2d(out_channels)
        )

    def forward(self, x):
        return self.block(x)


class BallTrackerNet(nn.Module):
    def __init__(self, input_channels=3, out_channels=15):
        super().__init__()
        self.conv1 = ConvBlock(input_channels, 8)
        self.conv2 = ConvBlock(8, 8)
        self.pool1 = nn.MaxPool2d(kernel_size=2, stride=2)
        self.conv3 = ConvBlock(8, 16)
        self.pool2 = nn.MaxPool2d(kernel_size=2, stride=2)
        self.conv4 = ConvBlock(16, 16)
        self.ups1 = nn.Upsample(scale_factor=2)
        self.conv5 = ConvBlock(16, 8)
        self.ups2 = nn.Upsample(scale_factor=2)
        self.conv6 = nn.Conv2d(8, out_channels, 3, padding=1)

    def forward(self, x):
        x = self.pool1(self.conv2(self.conv1(x)))
        x = self.pool2(self.conv3(x))
        x = self.conv5(self.ups1(self.conv4(x)))
        return self.conv6(self.ups2(x))


class CourtDataset(Dataset):
    def __init__(self, count=8, num_joints=14, height=24, width=40):
        self.count, self.num_joints, self.size = count, num_joints, (height, width)

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        height, width = self.size
        image = torch.rand(3, height, width)
        hm_hp = torch.zeros(self.num_joints + 1, height, width)
        ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
        for i in range(self.num_joints + 1):
            y, x = torch.randint(0, height, ()), torch.randint(0, width, ())
            hm_hp[i] = torch.exp(-((ys - y) ** 2 + (xs - x) ** 2) / 8)
        return image, hm_hp


def train(model, train_loader, optimizer, criterion, device, max_iters=1000):
    model.train()
    losses = []
    max_iters = min(max_iters, len(train_loader))
    for iter_id, batch in enumerate(train_loader):
        out = model(batch[0].float().to(device))
        gt_hm_hp = batch[1].float().to(device)
        loss = criterion(torch.sigmoid(out), gt_hm_hp)

        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        if iter_id > max_iters:
            break
    return torch.stack(losses).mean()


def build():
    return BallTrackerNet(out_channels=15)


def step(model):
    train_loader = DataLoader(CourtDataset(), batch_size=2, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, betas=(0.9, 0.999), weight_decay=0)
    return train(model, train_loader, optimizer, nn.MSELoss(), 'cpu')


# fix: optimizer.zero_grad() in the loop
TRUTH = dict(raises=None, at='function:backward', culprits=['', 'function:backward', 'function:zero_grad', 'function:step'], dim=None, got=None, wanted=None,
             hint_any=['zero_grad', 'accumulat', 'gradients'])
MENDED = [('        loss.backward()\n', '        optimizer.zero_grad()\n        loss.backward()\n')]
