import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://github.com/tyiannak/deep_audio_features/issues/23'
CATEGORY = 'loss'
DESCRIPTION = 'Convolutional autoencoder for (128, 201) mel spectrograms: padding and kernel of the last transposed convolution give 129 mel bins.'


class ConvAutoEncoder(nn.Module):
    def __init__(self, channels=(32, 16)):
        super().__init__()
        c1, c2 = channels
        self.encoder = nn.Sequential(
            nn.Conv2d(1, c1, kernel_size=3, stride=2, padding=1),
            nn.BatchNorm2d(c1),
            nn.LeakyReLU(),
            nn.Conv2d(c1, c2, kernel_size=3, stride=2, padding=1),
            nn.BatchNorm2d(c2),
            nn.LeakyReLU())
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(c2, c1, kernel_size=3, stride=2, padding=1, output_padding=(1, 0)),
            nn.BatchNorm2d(c1),
            nn.LeakyReLU(),
            nn.ConvTranspose2d(c1, 1, kernel_size=(5, 3), stride=2, padding=(1, 1)))

    def forward(self, x):
        representation = self.encoder(x)
        return self.decoder(representation), representation


class FeatureExtractorDataset(TensorDataset):
    def __init__(self, n, n_mels=128, frames=201):
        wave = torch.randn(n, n_mels, frames).cumsum(2)
        self.max_sequence_length = frames
        wave = (wave - wave.mean((1, 2), keepdim=True)) / wave.std((1, 2), keepdim=True)
        super().__init__(wave.unsqueeze(1), torch.arange(n))


def train(epoch, dataloader, model, loss_function):
    model.train()
    running = 0.0
    for index, batch in enumerate(dataloader, 1):
        inputs, _ = batch
        reconstructed, _ = model(inputs.float())
        loss = loss_function(reconstructed, inputs)
        running = running + loss
    return running / index


def build():
    torch.manual_seed(0)
    return ConvAutoEncoder()


def step(model):
    loader = DataLoader(FeatureExtractorDataset(16), batch_size=16, shuffle=False)
    return train(1, loader, model, nn.MSELoss())


# real fix: kernel, padding and output_padding of the last transposed convolution that give 128
# offending tensor: reconstruction (16, 1, 129, 201)
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['decoder.3'], dim=2, got=129, wanted=128,
             hint_any=['padding', 'output_padding', 'kernel'])
MENDED = [('kernel_size=(5, 3), stride=2, padding=(1, 1))', 'kernel_size=(5, 3), stride=2, padding=(2, 1), output_padding=(1, 0))')]
