import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://pythonfixing.com/2022/02/fixed-convolution-and-convolution.html (from Stack Overflow)'
CATEGORY = 'loss'
DESCRIPTION = 'Convolutional autoencoder: transposed convs mirror the strided convs (3, stride 2, padding 1) without output_padding, 12 becomes 23 and 48 becomes 45.'


def conv_block(cin, cout, stride=1):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1, stride=stride), nn.ReLU(), nn.BatchNorm2d(cout))


def deconv_block(cin, cout, stride=1):
    return nn.Sequential(nn.ConvTranspose2d(cin, cout, 3, padding=1, stride=stride), nn.ReLU(), nn.BatchNorm2d(cout))


class Encoder(nn.Module):
    def __init__(self, widths=(16, 32, 64)):
        super().__init__()
        layers, cin = [conv_block(3, widths[0])], widths[0]
        for c in widths[1:]:
            layers += [conv_block(cin, c, stride=2), nn.Dropout2d(0.05)]
            cin = c
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x)


class Decoder(nn.Module):
    def __init__(self, widths=(64, 32, 16)):
        super().__init__()
        layers = []
        for a, b in zip(widths, widths[1:]):
            layers.append(deconv_block(a, b, stride=2))
        self.layers = nn.Sequential(*layers)
        self.to_rgb = nn.Conv2d(widths[-1], 3, 1)

    def forward(self, z):
        return torch.sigmoid(self.to_rgb(self.layers(z)))


class AutoEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = Encoder(), Decoder()

    def forward(self, x):
        z = self.encoder(x)
        return self.decoder(z), z


def build():
    return AutoEncoder()


def step(model):
    images = torch.rand(4, 3, 48, 48)
    noisy = (images + 0.1 * torch.randn_like(images)).clamp(0, 1)
    reconstruction, code = model(noisy)
    return F.mse_loss(reconstruction, images) + 1e-4 * code.abs().mean()


# real fix: output_padding=1 with stride 2 (12 -> 24 -> 48)
# offending tensor: reconstruction (4, 3, 45, 45)
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['decoder.layers.0.0', 'decoder.layers.1.0', 'decoder.layers.0', 'decoder.layers.1', 'decoder', 'decoder.layers'], dim=3, got=45, wanted=48,
             hint_any=['output_padding', 'convtranspose', 'stride', '48'])
MENDED = [('nn.ConvTranspose2d(cin, cout, 3, padding=1, stride=stride)', 'nn.ConvTranspose2d(cin, cout, 3, padding=1, stride=stride, output_padding=stride - 1)')]
