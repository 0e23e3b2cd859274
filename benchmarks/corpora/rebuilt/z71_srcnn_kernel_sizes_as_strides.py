import torch
import torch.nn as nn
from torch.utils.data import Dataset, DataLoader

SOURCE = 'https://github.com/chxy95/SRCNN/issues/2'
CATEGORY = 'loss'
DESCRIPTION = 'SRCNN with hyper-parameters f1, f2, f3 for the kernels; in the second and third convolution they are passed as the stride, 33-pixel patches give 5 instead of 21.'


class SRCNN_net(torch.nn.Module):
    def __init__(self, num_channels, f1=9, f2=1, f3=5):
        super(SRCNN_net, self).__init__()
        self.conv1 = nn.Conv2d(in_channels=num_channels, out_channels=64,
                               kernel_size=f1, stride=1, padding=0, bias=True)
        self.conv2 = nn.Conv2d(in_channels=64, out_channels=32,
                               kernel_size=1, stride=f2, padding=0, bias=True)
        self.conv3 = nn.Conv2d(in_channels=32, out_channels=1,
                               kernel_size=5, stride=f3, padding=0, bias=True)
        self.relu = nn.ReLU()

    def forward(self, x):
        x = self.relu(self.conv1(x))
        x = self.relu(self.conv2(x))
        return self.conv3(x)


class PatchDataset(Dataset):
    def __init__(self, images=4, size=90, size_input=33, size_label=21, stride=14, scale=3):
        padding = abs(size_input - size_label) // 2
        self.data, self.label = [], []
        for _ in range(images):
            im_label = torch.rand(1, 1, size, size)
            small = nn.functional.interpolate(im_label, scale_factor=1 / scale, mode='bicubic')
            im_input = nn.functional.interpolate(small, size=(size, size), mode='bicubic')
            for x in range(0, size - size_input + 1, stride):
                for y in range(0, size - size_input + 1, stride):
                    self.data.append(im_input[0, :, x:x + size_input, y:y + size_input])
                    self.label.append(im_label[0, :, x + padding:x + padding + size_label, y + padding:y + padding + size_label])

    def __getitem__(self, index):
        return self.data[index], self.label[index]

    def __len__(self):
        return len(self.data)


def build():
    torch.manual_seed(0)
    return SRCNN_net(num_channels=1)


def step(model):
    loss_fn = nn.MSELoss()
    loader = DataLoader(PatchDataset(), batch_size=32, shuffle=True)
    losses = []
    for i, (imLR, label) in enumerate(loader):
        imgHR = model(imLR)
        losses.append(loss_fn(imgHR, label))
    return torch.stack(losses).mean()


# real fix: kernel_size=f2 / f3 and stride 1
# offending tensor: imgHR (32, 1, 5, 5)
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['conv3'], dim=2, got=5, wanted=21,
             hint_any=['stride', 'kernel'])
MENDED = [('kernel_size=5, stride=f3', 'kernel_size=f3, stride=1')]
