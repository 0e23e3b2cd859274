import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/UMCUtrecht-ECGxAI/ecgxai/issues/5 (also issue 1 there)'
CATEGORY = 'layer'
DESCRIPTION = ('ECG VAE of causal convolutions: the decoder uses the same block with ConvTranspose1d, whose padding already shortens the '
               'signal, and chomps that amount once more: 40 samples become 24, then 8, then less than nothing.')


class Chomp1d(nn.Module):
    def __init__(self, chomp_size):
        super().__init__()
        self.chomp_size = chomp_size

    def forward(self, x):
        return x[:, :, :-self.chomp_size]


class CausalConvolutionBlock(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size, dilation, final=False, forward=True):
        super().__init__()
        Conv1d = nn.Conv1d if forward else nn.ConvTranspose1d
        padding = (kernel_size - 1) * dilation
        self.causal = nn.Sequential(
            Conv1d(in_channels, out_channels, kernel_size, padding=padding, dilation=dilation), Chomp1d(padding), nn.LeakyReLU(),
            Conv1d(out_channels, out_channels, kernel_size, padding=padding, dilation=dilation), Chomp1d(padding), nn.LeakyReLU())
        self.upordownsample = Conv1d(in_channels, out_channels, 1) if in_channels != out_channels else None
        self.relu = nn.LeakyReLU() if final else None

    def forward(self, x):
        out = self.causal(x)
        res = x if self.upordownsample is None else self.upordownsample(x)
        out = out + res
        return out if self.relu is None else self.relu(out)


class CausalCNN(nn.Module):
    def __init__(self, in_channels, channels, depth, out_channels, kernel_size, forward=True):
        super().__init__()
        layers, dilation = [], 1 if forward else 2 ** depth
        for i in range(depth):
            layers.append(CausalConvolutionBlock(in_channels if i == 0 else channels, channels, kernel_size, dilation, forward=forward))
            dilation = dilation * 2 if forward else dilation // 2
        layers.append(CausalConvolutionBlock(channels, out_channels, kernel_size, dilation, final=True, forward=forward))
        self.network = nn.Sequential(*layers)

    def forward(self, x):
        return self.network(x)


class CausalCNNVEncoder(nn.Module):
    def __init__(self, in_channels, channels, depth, latent):
        super().__init__()
        self.causal_cnn = CausalCNN(in_channels, channels, depth, channels, 3)
        self.linear_mean, self.linear_sd = nn.Linear(channels, latent), nn.Linear(channels, latent)

    def forward(self, x):
        out = self.causal_cnn(x).amax(dim=2)
        return self.linear_mean(out), F.softplus(self.linear_sd(out))


class CausalCNNVDecoder(nn.Module):
    def __init__(self, latent, width, in_channels, channels, depth, out_channels):
        super().__init__()
        self.in_channels, self.width = in_channels, width
        self.linear1 = nn.Linear(latent, in_channels)
        self.linear2 = nn.Linear(in_channels, in_channels * width)
        self.causal_cnn = CausalCNN(in_channels, channels, depth, out_channels, 3, forward=False)

    def forward(self, z):
        out = self.linear2(self.linear1(z)).view(-1, self.in_channels, self.width)
        return self.causal_cnn(out)


class VAE(nn.Module):
    def __init__(self, leads=8, width=40, latent=6):
        super().__init__()
        self.encoder = CausalCNNVEncoder(leads, 16, 3, latent)
        self.decoder = CausalCNNVDecoder(latent, width, 16, 16, 3, leads)

    def forward(self, x):
        mean, sd = self.encoder(x)
        return self.decoder(mean + sd * torch.randn_like(sd)), mean, sd


def build():
    return VAE()


def step(model):
    waveform = torch.randn(8, 8, 40)
    recon, mean, sd = model(waveform)
    kl = (0.5 * (mean ** 2 + sd ** 2 - 1) - sd.clamp(min=1e-6).log()).sum(1).mean()
    return F.mse_loss(recon, waveform) + 0.01 * kl


# transposed convolutions without padding, so that the chomp leaves the length alone (or no chomp and padding='same')
TRUTH = dict(raises='RuntimeError', at='module:decoder.causal_cnn.network.0.causal.3',
             culprits=['decoder.causal_cnn.network.0.causal.0', 'decoder.causal_cnn.network.0.causal.1',
                       'decoder.causal_cnn.network.0.causal.3', 'function:getitem'], dim=2, got=8, wanted=None,
             hint_any=['chomp', 'padding', 'transpose', 'getitem', 'slice'])
MENDED = [('        padding = (kernel_size - 1) * dilation\n        self.causal',
           '        chomp = (kernel_size - 1) * dilation\n        padding = chomp if forward else 0\n        self.causal'),
          ('Chomp1d(padding)', 'Chomp1d(chomp)')]
