import torch
import torch.nn as nn
from torch.utils.data import DataLoader

SOURCE = 'https://github.com/TobiasSunderdiek/cartoon-gan/issues/10'
CATEGORY = 'loss'
DESCRIPTION = 'CartoonGAN: photo and cartoon folders differ in their number of files; in the last step there are 10 cartoons and 16 photos, the target maps are sized by the cartoons.'

BATCH_SIZE = 16


class ResidualBlock(nn.Module):
    def __init__(self, ch):
        super().__init__()
        self.conv_1 = nn.Conv2d(ch, ch, 3, 1, 1)
        self.norm_1 = nn.BatchNorm2d(ch)
        self.conv_2 = nn.Conv2d(ch, ch, 3, 1, 1)
        self.norm_2 = nn.BatchNorm2d(ch)

    def forward(self, x):
        return x + self.norm_2(self.conv_2(torch.relu(self.norm_1(self.conv_1(x)))))


class Generator(nn.Module):
    def __init__(self, ch=4):
        super().__init__()
        self.conv_1 = nn.Conv2d(3, ch, 7, 1, 3)
        self.conv_2 = nn.Conv2d(ch, ch * 2, 3, 2, 1)
        self.res = nn.Sequential(*[ResidualBlock(ch * 2) for _ in range(1)])
        self.conv_6 = nn.ConvTranspose2d(ch * 2, ch, 3, 2, 1, output_padding=1)
        self.conv_10 = nn.Conv2d(ch, 3, 7, 1, 3)

    def forward(self, x):
        x = torch.relu(self.conv_2(torch.relu(self.conv_1(x))))
        x = torch.relu(self.conv_6(self.res(x)))
        return torch.sigmoid(self.conv_10(x))


class Discriminator(nn.Module):
    def __init__(self, ch=4):
        super().__init__()
        self.conv_1 = nn.Conv2d(3, ch, 3, 1, 1)
        self.conv_2 = nn.Conv2d(ch, ch * 2, 3, 2, 1)
        self.conv_4 = nn.Conv2d(ch * 2, ch * 4, 3, 2, 1)
        self.norm_4 = nn.BatchNorm2d(ch * 4)
        self.conv_7 = nn.Conv2d(ch * 4, 1, 3, 1, 1)

    def forward(self, x):
        x = nn.functional.leaky_relu(self.conv_2(nn.functional.leaky_relu(self.conv_1(x), 0.2)), 0.2)
        x = nn.functional.leaky_relu(self.norm_4(self.conv_4(x)), 0.2)
        return torch.sigmoid(self.conv_7(x))


class DiscriminatorLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.bce_loss = nn.BCELoss()

    def forward(self, discriminator_output_of_cartoon_input, discriminator_output_of_cartoon_smoothed_input,
                discriminator_output_of_generated_image_input):
        actual_batch_size = discriminator_output_of_cartoon_input.size()[0]
        zeros = torch.zeros([actual_batch_size, 1, 8, 8])
        ones = torch.ones([actual_batch_size, 1, 8, 8])
        d_loss_cartoon = self.bce_loss(discriminator_output_of_cartoon_input, ones)
        d_loss_cartoon_smoothed = self.bce_loss(discriminator_output_of_cartoon_smoothed_input, zeros)
        d_loss_generated_input = self.bce_loss(discriminator_output_of_generated_image_input, zeros)
        return d_loss_cartoon + d_loss_cartoon_smoothed + d_loss_generated_input


class CartoonGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = Generator()
        self.discriminator = Discriminator()
        self.discriminator_loss = DiscriminatorLoss()


def load_images(n, smooth=False):
    images = torch.rand(n, 3, 32, 32)
    if smooth:
        images = nn.functional.avg_pool2d(images, 5, 1, 2)
    return DataLoader(images, batch_size=BATCH_SIZE, shuffle=False)


def build():
    torch.manual_seed(0)
    return CartoonGAN()


def step(model):
    photo_loader = load_images(48)
    cartoon_loader = load_images(42)
    cartoon_smoothed_loader = load_images(42, smooth=True)
    total = 0.0
    for photo, cartoon, smoothed in zip(photo_loader, cartoon_loader, cartoon_smoothed_loader):
        generated = model.generator(photo)
        d_cartoon = model.discriminator(cartoon)
        d_smoothed = model.discriminator(smoothed)
        d_generated = model.discriminator(generated.detach())
        total = total + model.discriminator_loss(d_cartoon, d_smoothed, d_generated)
    return total


# real fix: as many photos as cartoons in the folders (or a target of its own for each discriminator output)
# offending tensor: zeros (10, 1, 8, 8), generated photos (16, 1, 8, 8)
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy', culprits=['function:zeros', 'input'], dim=0, got=10, wanted=16,
             hint_any=['batch', 'last', 'drop_last', 'zeros_like'])
MENDED = [('photo_loader = load_images(48)', 'photo_loader = load_images(42)')]
