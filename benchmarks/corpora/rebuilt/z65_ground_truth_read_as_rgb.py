import torch
import torch.nn as nn
from torch.utils import data

SOURCE = 'https://github.com/LeeJunHyun/Image_Segmentation/issues/66'
CATEGORY = 'loss'
DESCRIPTION = 'Attention-free U-Net solver that flattens prediction and ground truth: the mask files are RGB pictures, so the flat target is three times as long.'


def to_tensor(pic):
    return pic.permute(2, 0, 1).float() / 255


def read_png(index, kind, size=64):
    g = torch.Generator().manual_seed(index)
    if kind == 'image':
        return torch.randint(0, 256, (size, size, 3), generator=g)
    gray = (torch.rand(size, size, 1, generator=g) > 0.8).long() * 255
    return gray.expand(size, size, 3)


class ImageFolder(data.Dataset):
    def __init__(self, n, image_size=64, mode='train'):
        self.n, self.image_size, self.mode = n, image_size, mode

    def __getitem__(self, index):
        image = read_png(index, 'image', self.image_size)
        GT = read_png(index, 'gt', self.image_size)
        image, GT = to_tensor(image), to_tensor(GT)
        image = (image - 0.5) / 0.5
        return image, GT

    def __len__(self):
        return self.n


def get_loader(image_size, batch_size, mode='train'):
    return data.DataLoader(ImageFolder(4, image_size, mode), batch_size=batch_size, shuffle=False)


class conv_block(nn.Module):
    def __init__(self, ch_in, ch_out):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(ch_in, ch_out, kernel_size=3, stride=1, padding=1, bias=True), nn.BatchNorm2d(ch_out), nn.ReLU(inplace=True),
            nn.Conv2d(ch_out, ch_out, kernel_size=3, stride=1, padding=1, bias=True), nn.BatchNorm2d(ch_out), nn.ReLU(inplace=True))

    def forward(self, x):
        return self.conv(x)


class up_conv(nn.Module):
    def __init__(self, ch_in, ch_out):
        super().__init__()
        self.up = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(ch_in, ch_out, 3, 1, 1), nn.BatchNorm2d(ch_out), nn.ReLU(inplace=True))

    def forward(self, x):
        return self.up(x)


class U_Net(nn.Module):
    def __init__(self, img_ch=3, output_ch=1):
        super().__init__()
        self.Maxpool = nn.MaxPool2d(kernel_size=2, stride=2)
        self.Conv1 = conv_block(img_ch, 8)
        self.Conv2 = conv_block(8, 16)
        self.Conv3 = conv_block(16, 32)
        self.Up3 = up_conv(32, 16)
        self.Up_conv3 = conv_block(32, 16)
        self.Up2 = up_conv(16, 8)
        self.Up_conv2 = conv_block(16, 8)
        self.Conv_1x1 = nn.Conv2d(8, output_ch, kernel_size=1)

    def forward(self, x):
        x1 = self.Conv1(x)
        x2 = self.Conv2(self.Maxpool(x1))
        x3 = self.Conv3(self.Maxpool(x2))
        d3 = self.Up_conv3(torch.cat((x2, self.Up3(x3)), dim=1))
        d2 = self.Up_conv2(torch.cat((x1, self.Up2(d3)), dim=1))
        return self.Conv_1x1(d2)


class Solver:
    def __init__(self, unet, train_loader):
        self.unet, self.train_loader = unet, train_loader
        self.criterion = torch.nn.BCELoss()

    def train(self):
        epoch_loss = 0.
        for i, (images, GT) in enumerate(self.train_loader):
            SR = self.unet(images)
            SR_probs = torch.sigmoid(SR)
            SR_flat = SR_probs.view(SR_probs.size(0), -1)
            GT_flat = GT.view(GT.size(0), -1)
            loss = self.criterion(SR_flat, GT_flat)
            epoch_loss = epoch_loss + loss
        return epoch_loss


def build():
    torch.manual_seed(0)
    return U_Net(img_ch=3, output_ch=1)


def step(model):
    return Solver(model, get_loader(64, batch_size=1)).train()


# real fix: the masks are opened as gray scale pictures (GT.convert('L'))
# offending tensor: target (1, 12288) of (1, 3, 64, 64)
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy', culprits=['target'], dim=1, got=12288, wanted=4096,
             hint_any=['channel', 'rgb', 'gray', 'grey', '(1, 3, 64, 64)', '3 times', 'three times'])
MENDED = [("GT = read_png(index, 'gt', self.image_size)", "GT = read_png(index, 'gt', self.image_size)[:, :, :1]")]
