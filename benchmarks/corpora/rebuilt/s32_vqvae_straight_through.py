import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/zalandoresearch/pytorch-vq-vae/blob/master/vq-vae.ipynb'
CATEGORY = 'correct'
DESCRIPTION = 'VQ-VAE: codebook and commitment losses with one side detached each, straight-through estimator, permute in and out.'


class VectorQuantizer(nn.Module):
    def __init__(self, num_embeddings, embedding_dim, commitment_cost):
        super().__init__()
        self._embedding_dim = embedding_dim
        self._num_embeddings = num_embeddings
        self._embedding = nn.Embedding(num_embeddings, embedding_dim)
        self._embedding.weight.data.uniform_(-1 / num_embeddings, 1 / num_embeddings)
        self._commitment_cost = commitment_cost

    def forward(self, inputs):
        # convert inputs from BCHW -> BHWC
        inputs = inputs.permute(0, 2, 3, 1).contiguous()
        input_shape = inputs.shape
        flat_input = inputs.view(-1, self._embedding_dim)
        distances = (torch.sum(flat_input ** 2, dim=1, keepdim=True)
                     + torch.sum(self._embedding.weight ** 2, dim=1)
                     - 2 * torch.matmul(flat_input, self._embedding.weight.t()))
        encoding_indices = torch.argmin(distances, dim=1).unsqueeze(1)
        encodings = torch.zeros(encoding_indices.shape[0], self._num_embeddings)
        encodings.scatter_(1, encoding_indices, 1)
        quantized = torch.matmul(encodings, self._embedding.weight).view(input_shape)

        e_latent_loss = F.mse_loss(quantized.detach(), inputs)
        q_latent_loss = F.mse_loss(quantized, inputs.detach())
        loss = q_latent_loss + self._commitment_cost * e_latent_loss

        quantized = inputs + (quantized - inputs).detach()
        avg_probs = torch.mean(encodings, dim=0)
        perplexity = torch.exp(-torch.sum(avg_probs * torch.log(avg_probs + 1e-10)))
        return loss, quantized.permute(0, 3, 1, 2).contiguous(), perplexity, encodings


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self._block = nn.Sequential(nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.ReLU(),
                                    nn.Conv2d(channels, channels, 1, bias=False))

    def forward(self, x):
        return x + self._block(x)


class Model(nn.Module):
    def __init__(self, hiddens=12, embedding_dim=8, num_embeddings=8):
        super().__init__()
        self._encoder = nn.Sequential(nn.Conv2d(3, hiddens, 4, 2, 1), nn.ReLU(), nn.Conv2d(hiddens, hiddens, 4, 2, 1), Residual(hiddens))
        self._pre_vq_conv = nn.Conv2d(hiddens, embedding_dim, 1)
        self._vq_vae = VectorQuantizer(num_embeddings, embedding_dim, 0.25)
        self._decoder = nn.Sequential(nn.Conv2d(embedding_dim, hiddens, 3, padding=1), Residual(hiddens),
                                      nn.ConvTranspose2d(hiddens, hiddens, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(hiddens, 3, 4, 2, 1))

    def forward(self, x):
        loss, quantized, perplexity, _ = self._vq_vae(self._pre_vq_conv(self._encoder(x)))
        return loss, self._decoder(quantized), perplexity


def build():
    return Model()


def step(model):
    data = torch.rand(8, 3, 16, 16) - 0.5
    data_variance = data.var()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    vq_loss, data_recon, perplexity = model(data)
    loss = F.mse_loss(data_recon, data) / data_variance + vq_loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
