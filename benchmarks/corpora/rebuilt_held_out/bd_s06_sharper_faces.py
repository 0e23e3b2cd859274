import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = ('https://github.com/alohaleonardo/Super_Resolution_with_CNNs_and_GANs/issues/6 (16 x 512 x 8 x 8 against 16 x 512 x 2 x 2; that one transform serves '
          'blurred and clear faces is the code of the repository, that it must not is read from the sizes)')
CATEGORY = 'loss'
DESCRIPTION = ('Four times super resolution of faces: the reader puts a resize to 64 into the one transform that serves low and high resolution, the '
               'generator makes 256x256, the perceptual loss compares features of 8x8 with 2x2.')


class Compose:
    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, img):
        for t in self.transforms:
            img = t(img)
        return img


class Resize:
    def __init__(self, size):
        self.size = size

    def __call__(self, img):
        return F.interpolate(img[None].float(), size=(self.size, self.size), mode='bilinear', align_corners=False)[0]


class ToTensor:
    def __call__(self, img):
        return img.float() / 255


class FACESDataset(Dataset):
    def __init__(self, n, transform):
        g = torch.Generator().manual_seed(8)
        self.clear = torch.randint(0, 256, (n, 3, 128, 128), generator=g)
        self.blur = F.interpolate(self.clear.float(), size=(32, 32), mode='area')
        self.transform = transform

    def __len__(self):
        return len(self.clear)

    def __getitem__(self, idx):
        label_image = self.transform(self.clear[idx])
        train_image = self.transform(self.blur[idx])
        return train_image, label_image


def fetch_dataloader(types, params):
    train_transformer = Compose([Resize(params['image_size']), ToTensor()])
    return {split: DataLoader(FACESDataset(params['batch_size'] * 2, train_transformer), batch_size=params['batch_size']) for split in types}


class ResidualBlock(nn.Module):
    def __init__(self, ch):
        super().__init__()
        self.conv1 = nn.Conv2d(ch, ch, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(ch)
        self.prelu = nn.PReLU()
        self.conv2 = nn.Conv2d(ch, ch, 3, padding=1)

    def forward(self, x):
        return x + self.conv2(self.prelu(self.bn1(self.conv1(x))))


class UpsampleBLock(nn.Module):
    def __init__(self, ch):
        super().__init__()
        self.conv = nn.Conv2d(ch, ch * 4, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)
        self.prelu = nn.PReLU()

    def forward(self, x):
        return self.prelu(self.shuffle(self.conv(x)))


class Generator(nn.Module):
    def __init__(self, scale_factor=4, ch=8):
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(3, ch, 9, padding=4), nn.PReLU())
        self.blocks = nn.Sequential(*[ResidualBlock(ch) for _ in range(2)])
        self.up = nn.Sequential(*[UpsampleBLock(ch) for _ in range(scale_factor // 2)], nn.Conv2d(ch, 3, 3, padding=1))

    def forward(self, x):
        x = self.block1(x)
        return (torch.tanh(self.up(x + self.blocks(x))) + 1) / 2


class Discriminator(nn.Module):
    def __init__(self, ch=8):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, ch, 3, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(ch, ch, 3, 2, 1), nn.LeakyReLU(0.2),
                                 nn.AdaptiveAvgPool2d(1), nn.Conv2d(ch, 1, 1))

    def forward(self, x):
        return torch.sigmoid(self.net(x).view(x.size(0)))


class GeneratorLoss(nn.Module):
    def __init__(self):
        super().__init__()
        cfg, layers, cin = [8, 16, 32, 32, 32], [], 3
        for c in cfg:
            layers += [nn.Conv2d(cin, c, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            cin = c
        self.loss_network = nn.Sequential(*layers).eval().requires_grad_(False)
        self.mse_loss = nn.MSELoss()

    def forward(self, out_labels, out_images, target_images):
        adversarial_loss = torch.mean(1 - out_labels)
        perception_loss = self.mse_loss(self.loss_network(out_images), self.loss_network(target_images))
        image_loss = self.mse_loss(out_images, target_images)
        return image_loss + 0.001 * adversarial_loss + 0.006 * perception_loss


class SRGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.netG = Generator()
        self.netD = Discriminator()
        self.loss_fn = GeneratorLoss()


def build():
    torch.manual_seed(0)
    return SRGAN()


def step(model):
    torch.manual_seed(1)
    params = dict(batch_size=2, image_size=64)
    train_dataloader = fetch_dataloader(['train'], params)['train']
    train_batch, labels_batch = next(iter(train_dataloader))
    fake_img = model.netG(train_batch)
    d_loss = 1 - model.netD(labels_batch).mean() + model.netD(fake_img.detach()).mean()
    g_loss = model.loss_fn(model.netD(fake_img), fake_img, labels_batch)
    return g_loss + d_loss


# the resize must leave the ratio of blurred and clear faces at four (here: none of it; the files are 32 and 128)
# offending tensor: train_image of 64x64, made from 32x32 by the same transform as the label
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['input', 'target', 'function:interpolate'], dim=3, got=2, wanted=8,
             hint_any=['resize', 'interpolate', '64', '256', 'resolution', 'size'])
MENDED = [("Compose([Resize(params['image_size']), ToTensor()])", 'Compose([ToTensor()])')]
