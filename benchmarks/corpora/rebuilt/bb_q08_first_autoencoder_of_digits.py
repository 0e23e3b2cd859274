import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://github.com/ethanluoyc/pytorch-vae/issues/1'
CATEGORY = 'loss'
DESCRIPTION = ('Small VAE for digits: the decoder gives rows of 784 numbers, the reconstruction is compared with the images of the loader, '
               'which still are (batch, 1, 28, 28).')

input_dim = 28 * 28
batch_size = 28


class Encoder(nn.Module):
    def __init__(self, D_in, H, D_out):
        super(Encoder, self).__init__()
        self.linear1 = nn.Linear(D_in, H)
        self.linear2 = nn.Linear(H, D_out)

    def forward(self, x):
        x = F.relu(self.linear1(x))
        return F.relu(self.linear2(x))


class Decoder(nn.Module):
    def __init__(self, D_in, H, D_out):
        super(Decoder, self).__init__()
        self.linear1 = nn.Linear(D_in, H)
        self.linear2 = nn.Linear(H, D_out)

    def forward(self, x):
        x = F.relu(self.linear1(x))
        return F.relu(self.linear2(x))


class VAE(nn.Module):
    latent_dim = 8

    def __init__(self, encoder, decoder):
        super(VAE, self).__init__()
        self.encoder = encoder
        self.decoder = decoder
        self._enc_mu = nn.Linear(100, 8)
        self._enc_log_sigma = nn.Linear(100, 8)

    def _sample_latent(self, h_enc):
        """
        Return the latent normal sample z ~ N(mu, sigma^2)
        """
        mu = self._enc_mu(h_enc)
        log_sigma = self._enc_log_sigma(h_enc)
        sigma = torch.exp(log_sigma)
        std_z = torch.randn_like(sigma)
        self.z_mean = mu
        self.z_sigma = sigma
        return mu + sigma * std_z

    def forward(self, state):
        h_enc = self.encoder(state)
        z = self._sample_latent(h_enc)
        return self.decoder(z)


def latent_loss(z_mean, z_stddev):
    mean_sq = z_mean * z_mean
    stddev_sq = z_stddev * z_stddev
    return 0.5 * torch.mean(mean_sq + stddev_sq - torch.log(stddev_sq) - 1)


def build():
    torch.manual_seed(0)
    encoder = Encoder(input_dim, 100, 100)
    decoder = Decoder(8, 100, input_dim)
    return VAE(encoder, decoder)


def step(vae):
    torch.manual_seed(1)
    mnist = TensorDataset(torch.rand(100, 1, 28, 28), torch.randint(0, 10, (100,)))
    dataloader = DataLoader(mnist, batch_size=batch_size, shuffle=True)
    criterion = nn.MSELoss()
    for i, data in enumerate(dataloader, 0):
        inputs, classes = data
        dec = vae(inputs.view(inputs.size(0), input_dim))
        ll = latent_loss(vae.z_mean, vae.z_sigma)
        loss = criterion(dec, inputs) + ll
        return loss


# real fix: criterion(dec, inputs.view(-1, 784))
# offending tensors: dec (28, 784), inputs (28, 1, 28, 28)
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['target'], dim=None, got=28, wanted=784, hint_any=['784', 'view', 'flatten', 'reshape'])
MENDED = [('criterion(dec, inputs)', 'criterion(dec, inputs.view(-1, input_dim))')]
