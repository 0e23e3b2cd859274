import torch
import torch.nn as nn

SOURCE = 'https://github.com/ugent-korea/pytorch-unet-segmentation/issues/19'
CATEGORY = 'loss'
DESCRIPTION = 'Original U-Net with valid convolutions: 256x256 pictures give 68x68 maps; the labels are not cut to the middle.'

args = dict(in_channels=1, n_classes=2, base=4, depth=4, batch_size=2, size=256)


def double_conv(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3), nn.BatchNorm2d(o), nn.ReLU(inplace=True), nn.Conv2d(o, o, 3), nn.BatchNorm2d(o), nn.ReLU(inplace=True))


class Up(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.up = nn.ConvTranspose2d(i, o, 2, stride=2)
        self.conv = double_conv(2 * o, o)

    @staticmethod
    def crop(bridge, up):
        h, w = up.shape[2:]
        top, left = (bridge.size(2) - h) // 2, (bridge.size(3) - w) // 2
        return bridge[:, :, top:top + h, left:left + w]

    def forward(self, x, bridge):
        x = self.up(x)
        return self.conv(torch.cat([self.crop(bridge, x), x], 1))


class CleanU_Net(nn.Module):
    def __init__(self, in_channels, n_classes, base, depth):
        super().__init__()
        widths = [base * 2 ** i for i in range(depth + 1)]
        self.downs = nn.ModuleList([double_conv(i, o) for i, o in zip([in_channels] + widths[:-1], widths)])
        self.pool = nn.MaxPool2d(2)
        self.ups = nn.ModuleList([Up(i, o) for i, o in zip(widths[:0:-1], widths[-2::-1])])
        self.dropout = nn.Dropout2d(0.2)
        self.last = nn.Conv2d(base, n_classes, 1)

    def forward(self, x):
        skips = []
        for i, down in enumerate(self.downs):
            x = down(x if i == 0 else self.pool(x))
            skips.append(x)
        x = self.dropout(skips.pop())
        for up in self.ups:
            x = up(x, skips.pop())
        return self.last(x)


class Stacks:
    def __init__(self, size):
        self.size = size

    def __getitem__(self, i):
        image = torch.rand(1, self.size, self.size)
        if i % 2:
            image = image.flip(2)
        image = (image - image.mean()) / (image.std() + 1e-6)
        return image, (image[0] > 0).long()


def build():
    a = args
    return CleanU_Net(a['in_channels'], a['n_classes'], a['base'], a['depth'])


def train_model(model, loader, criterion):
    loss = 0.
    for images, masks in loader:
        outputs = model(images)
        loss = loss + criterion(outputs, masks)
    return loss


def step(model):
    data = Stacks(args['size'])
    images, masks = zip(*[data[i] for i in range(args['batch_size'])])
    return train_model(model, [(torch.stack(images), torch.stack(masks))], nn.CrossEntropyLoss())


# real fix: compare with the middle of the labels (the data set of the repository delivers mirrored borders and cut masks), or padding=1
# offending tensor: outputs (2, 2, 68, 68), 256x256 labels
TRUTH = dict(raises='RuntimeError', at='loss:cross_entropy', culprits=['', 'downs', 'downs.0', 'downs.0.0', 'ups', 'ups.3', 'ups.3.conv', 'ups.3.conv.0', 'ups.3.conv.3', 'target'], dim=2, got=68, wanted=256,
             hint_any=['padding', 'crop', 'pad'])
MENDED = [('criterion(outputs, masks)', 'criterion(outputs, masks[:, 94:-94, 94:-94])')]
