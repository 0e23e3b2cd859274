import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/chvlyl/ISIC2018/issues/11 (target (4, 5), input (20); the call that flattens is reconstructed)'
CATEGORY = 'loss'
DESCRIPTION = 'Skin lesions, multi-task U-Net: beside the masks it says which of five attributes are in the image; the indicators are flattened over the batch, the targets are (4, 5).'


class ConvRelu(nn.Module):
    def __init__(self, in_, out):
        super().__init__()
        self.conv = nn.Conv2d(in_, out, 3, padding=1)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.activation(self.conv(x))


class DecoderBlock(nn.Module):
    def __init__(self, in_channels, middle_channels, out_channels):
        super().__init__()
        self.block = nn.Sequential(
            ConvRelu(in_channels, middle_channels),
            nn.ConvTranspose2d(middle_channels, out_channels, kernel_size=4, stride=2, padding=1),
            nn.ReLU(inplace=True))

    def forward(self, x):
        return self.block(x)


class IndicatorHead(nn.Module):
    def __init__(self, channels, num_classes):
        super().__init__()
        self.reduce = nn.Conv2d(channels, num_classes, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        x = self.pool(self.reduce(x))
        return x.view(-1)


class UNet16(nn.Module):
    def __init__(self, num_classes=5, num_filters=8):
        super().__init__()
        nf = num_filters
        self.pool = nn.MaxPool2d(2, 2)
        self.conv1 = nn.Sequential(ConvRelu(3, nf), ConvRelu(nf, nf))
        self.conv2 = nn.Sequential(ConvRelu(nf, 2 * nf), ConvRelu(2 * nf, 2 * nf))
        self.conv3 = nn.Sequential(ConvRelu(2 * nf, 4 * nf), ConvRelu(4 * nf, 4 * nf))
        self.center = DecoderBlock(4 * nf, 8 * nf, 4 * nf)
        self.dec3 = DecoderBlock(8 * nf, 4 * nf, 2 * nf)
        self.dec2 = DecoderBlock(4 * nf, 2 * nf, nf)
        self.dec1 = ConvRelu(2 * nf, nf)
        self.final = nn.Conv2d(nf, num_classes, kernel_size=1)
        self.mask_ind1 = IndicatorHead(4 * nf, num_classes)
        self.mask_ind2 = IndicatorHead(nf, num_classes)

    def forward(self, x):
        conv1 = self.conv1(x)
        conv2 = self.conv2(self.pool(conv1))
        conv3 = self.conv3(self.pool(conv2))
        center = self.center(self.pool(conv3))
        dec3 = self.dec3(torch.cat([center, conv3], 1))
        dec2 = self.dec2(torch.cat([dec3, conv2], 1))
        dec1 = self.dec1(torch.cat([dec2, conv1], 1))
        return self.final(dec1), self.mask_ind1(center), self.mask_ind2(dec1)


class LossBinary:
    def __init__(self, jaccard_weight=0.5):
        self.nll_loss = nn.BCEWithLogitsLoss()
        self.jaccard_weight = jaccard_weight

    def __call__(self, outputs, targets):
        loss = (1 - self.jaccard_weight) * self.nll_loss(outputs, targets)
        prob = torch.sigmoid(outputs)
        intersection = (prob * targets).sum()
        union = prob.sum() + targets.sum() - intersection
        return loss - self.jaccard_weight * torch.log((intersection + 1e-7) / (union + 1e-7))


attributes = ['pigment_network', 'negative_network', 'streaks', 'milia_like_cyst', 'globules']


def load_batch(batch_size=4, size=32):
    g = torch.Generator().manual_seed(17)
    image = torch.randn(batch_size, 3, size, size, generator=g)
    mask = (torch.rand(batch_size, len(attributes), size, size, generator=g) > 0.8).float()
    mask[torch.rand(batch_size, len(attributes), generator=g) > 0.5] = 0
    mask_ind = (mask.sum((2, 3)) > 0).float()
    return image, mask, mask_ind


def build():
    torch.manual_seed(0)
    return UNet16(num_classes=len(attributes))


def step(model):
    train_image, train_mask, train_mask_ind = load_batch()
    criterion = LossBinary()
    outputs, outputs_mask_ind1, outputs_mask_ind2 = model(train_image)
    loss1 = criterion(outputs, train_mask)
    loss2 = F.binary_cross_entropy_with_logits(outputs_mask_ind1, train_mask_ind)
    loss3 = F.binary_cross_entropy_with_logits(outputs_mask_ind2, train_mask_ind)
    return loss1 + loss2 * 0.5 + loss3 * 0.5


TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy_with_logits', culprits=['function:view', 'mask_ind1', 'target'], dim=0, got=20, wanted=4,
             hint_any=['view', 'flatten', '(4, 5)', 'batch'])
MENDED = [('return x.view(-1)', 'return x.view(x.size(0), -1)')]
