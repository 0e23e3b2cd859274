import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://whosebug.com/question/6259374/Convolution-and-convolution-transposed-do-not-cancel-each-other (Stack Overflow, translated)'
CATEGORY = 'loss'
DESCRIPTION = 'Convolutional autoencoder: transposed convolutions with the kernel, stride and padding of the convolutions give 2n - 1 rows for n, not 2n.'


class EncoderBlock(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, stride=2)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x):
        return self.bn(F.relu(self.conv(x)))


class DecoderBlock(nn.Module):
    def __init__(self, in_channels, out_channels, last=False):
        super().__init__()
        self.convt = nn.ConvTranspose2d(in_channels, out_channels, 3, padding=1, stride=2)
        self.bn = nn.Identity() if last else nn.BatchNorm2d(out_channels)
        self.last = last

    def forward(self, x):
        x = self.convt(x)
        if self.last:
            return torch.sigmoid(x)
        return self.bn(F.relu(x))


class AutoEncoder(nn.Module):
    def __init__(self, channels=(3, 8, 12, 16)):
        super().__init__()
        self.encoder = nn.Sequential(*[EncoderBlock(i, o) for i, o in zip(channels, channels[1:])])
        rev = channels[::-1]
        self.decoder = nn.Sequential(*[DecoderBlock(i, o, last=(o == channels[0])) for i, o in zip(rev, rev[1:])])

    def forward(self, x):
        code = self.encoder(x)
        return self.decoder(code), code


def batches(n_batches=2, batch_size=12, size=96):
    g = torch.Generator().manual_seed(2)
    for _ in range(n_batches):
        yield torch.rand(batch_size, 3, size, size, generator=g)


def build():
    torch.manual_seed(0)
    return AutoEncoder()


def step(model):
    criterion = nn.MSELoss()
    running, count = 0., 0
    for images in batches():
        outputs, code = model(images)
        loss = criterion(outputs, images)
        sparsity = code.abs().mean()
        running = running + loss + 1e-3 * sparsity
        count += 1
    return running / count


# real fix: output_padding=1 in the transposed convolutions
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['decoder.0.convt', 'decoder.1.convt', 'decoder.2.convt'], dim=None, got=89, wanted=96,
             hint_any=['output_padding', '89', '96', '23', '24'])
MENDED = [('nn.ConvTranspose2d(in_channels, out_channels, 3, padding=1, stride=2)',
           'nn.ConvTranspose2d(in_channels, out_channels, 3, padding=1, stride=2, output_padding=1)')]
