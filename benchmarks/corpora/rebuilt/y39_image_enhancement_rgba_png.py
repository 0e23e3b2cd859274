import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/sjmoran/deeplpf-image-enhancement/issues/16'
CATEGORY = 'layer'
DESCRIPTION = 'DeepLPF: the image is opened as RGBA and four channels reach the first convolution of the U-Net backbone, which takes three.'


class ImageProcessing:
    @staticmethod
    def open_png(size, seed, mode='RGBA'):
        g = torch.Generator().manual_seed(seed)
        rgb = torch.randint(0, 256, (*size, 3), generator=g, dtype=torch.uint8)
        alpha = torch.full((*size, 1), 255, dtype=torch.uint8)
        return torch.cat([rgb, alpha], dim=-1) if mode == 'RGBA' else rgb

    @staticmethod
    def normalise_image(img, normaliser):
        return img.float() / normaliser

    @staticmethod
    def swapimdims_HW3_3HW(img):
        return img.permute(2, 0, 1)


class Dataset(torch.utils.data.Dataset):
    def __init__(self, n=2, normaliser=255):
        self.n, self.normaliser = n, normaliser

    def __len__(self):
        return self.n

    def __getitem__(self, idx):
        input_img = ImageProcessing.open_png((32, 48), idx)
        output_img = ImageProcessing.open_png((32, 48), idx + 100, mode='RGB')
        input_img, output_img = (ImageProcessing.swapimdims_HW3_3HW(ImageProcessing.normalise_image(i, self.normaliser))
                                 for i in (input_img, output_img))
        return {'input_img': input_img, 'output_img': output_img}


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1)
        self.conv2 = nn.Conv2d(16, 32, 3, 1, 1)
        self.pool = nn.AvgPool2d(2, 2)
        self.up = nn.PixelShuffle(2)
        self.up_conv = nn.Conv2d(24, 16, 3, 1, 1)
        self.final_conv = nn.Conv2d(16, 3, 3, 1, 1)

    def forward(self, img):
        x1 = F.leaky_relu(self.conv1(img))
        x2 = F.leaky_relu(self.conv2(self.pool(x1)))
        x = torch.cat([x1, self.up(x2)], dim=1)
        return img + self.final_conv(F.leaky_relu(self.up_conv(x)))


class CubicFilter(nn.Module):
    def __init__(self, channels=48):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(6, channels, 3, 2, 1), nn.LeakyReLU(), nn.AdaptiveAvgPool2d(1))
        self.fc = nn.Linear(channels, 12)

    def forward(self, feat, img):
        p = self.fc(self.body(torch.cat([feat, img], dim=1)).flatten(1)).view(-1, 3, 4, 1, 1)
        return (p[:, :, 0] * img ** 3 + p[:, :, 1] * img ** 2 + p[:, :, 2] * img + p[:, :, 3]).clamp(0, 1)


class DeepLPFNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbonenet = UNet()
        self.deeplpfnet = CubicFilter()

    def forward(self, img):
        feat = self.backbonenet(img)
        return torch.clamp(feat + self.deeplpfnet(feat, img), 0, 1)


def build():
    return DeepLPFNet()


def step(model):
    data = next(iter(torch.utils.data.DataLoader(Dataset(), batch_size=2)))
    pred = model(data['input_img'])
    return F.l1_loss(pred, data['output_img']) + 1 - F.cosine_similarity(pred, data['output_img'], dim=1).mean()


# real fix: Image.open(path).convert('RGB')
TRUTH = dict(raises='RuntimeError', at='module:backbonenet.conv1', culprits=['input'], dim=1, got=4, wanted=3,
             hint_any=['rgba', 'alpha', 'rgb', 'channel'])
MENDED = [('ImageProcessing.open_png((32, 48), idx)', 'ImageProcessing.open_png((32, 48), idx, mode="RGB")')]
