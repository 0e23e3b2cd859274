import math
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://github.com/jaanaltosaar/variational-autoencoder/issues/14 (128 against 512; the missing keepdim is read from the numbers and the repaired file)'
CATEGORY = 'layer'
DESCRIPTION = 'VAE with importance samples: log q(z) of the mean-field posterior has one dimension less than log p(x, z), which training with one sample lets pass.'


class NeuralNetwork(nn.Module):
    def __init__(self, input_size, output_size, hidden_size):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(input_size, hidden_size), nn.ReLU(), nn.Linear(hidden_size, hidden_size), nn.ReLU(),
                                 nn.Linear(hidden_size, output_size))

    def forward(self, input):
        return self.net(input)


class NormalLogProb(nn.Module):
    def forward(self, loc, scale, z):
        var = torch.pow(scale, 2)
        return -0.5 * torch.log(2 * math.pi * var) - torch.pow(z - loc, 2) / (2 * var)


class BernoulliLogProb(nn.Module):
    def __init__(self):
        super().__init__()
        self.bce_with_logits = nn.BCEWithLogitsLoss(reduction='none')

    def forward(self, logits, target):
        return -self.bce_with_logits(logits, target)


class Model(nn.Module):
    def __init__(self, latent_size, data_size):
        super().__init__()
        self.register_buffer('p_z_loc', torch.zeros(latent_size))
        self.register_buffer('p_z_scale', torch.ones(latent_size))
        self.log_p_z = NormalLogProb()
        self.log_p_x = BernoulliLogProb()
        self.generative_network = NeuralNetwork(latent_size, data_size, latent_size * 2)

    def forward(self, z, x):
        log_p_z = self.log_p_z(self.p_z_loc, self.p_z_scale, z).sum(-1, keepdim=True)
        logits = self.generative_network(z)
        logits, x = torch.broadcast_tensors(logits, x.unsqueeze(1))
        log_p_x = self.log_p_x(logits, x).sum(-1, keepdim=True)
        return log_p_z + log_p_x


class VariationalMeanField(nn.Module):
    def __init__(self, latent_size, data_size):
        super().__init__()
        self.inference_network = NeuralNetwork(data_size, latent_size * 2, latent_size * 2)
        self.log_q_z = NormalLogProb()
        self.softplus = nn.Softplus()

    def forward(self, x, n_samples=1):
        loc, scale_arg = torch.chunk(self.inference_network(x).unsqueeze(1), chunks=2, dim=-1)
        scale = self.softplus(scale_arg)
        eps = torch.randn((loc.shape[0], n_samples, loc.shape[-1]), device=loc.device)
        z = loc + scale * eps
        log_q_z = self.log_q_z(loc, scale, z).sum(-1)
        return z, log_q_z


class VAE(nn.Module):
    def __init__(self, latent_size=16, data_size=64):
        super().__init__()
        self.model = Model(latent_size, data_size)
        self.variational = VariationalMeanField(latent_size, data_size)

    def elbo(self, x, n_samples=1):
        z, log_q_z = self.variational(x, n_samples)
        log_p_x_and_z = self.model(z, x)
        return log_p_x_and_z - log_q_z


def evaluate(n_samples, vae, eval_data):
    vae.eval()
    total_log_p_x, total_elbo = 0.0, 0.0
    for batch in eval_data:
        elbo = vae.elbo(batch[0], n_samples)
        log_p_x = torch.logsumexp(elbo, dim=1) - math.log(n_samples)
        total_elbo += elbo.mean(1).sum()
        total_log_p_x += log_p_x.sum()
    n_data = len(eval_data.dataset)
    return total_elbo / n_data, total_log_p_x / n_data


def build():
    torch.manual_seed(0)
    return VAE()


def step(model):
    torch.manual_seed(1)
    images = TensorDataset((torch.rand(64, 64) > 0.6).float())
    train_data, valid_data = DataLoader(images, batch_size=16), DataLoader(images, batch_size=32)
    loss = -model.elbo(next(iter(train_data))[0]).mean(1).sum(0)
    valid_elbo, valid_log_p_x = evaluate(8, model, valid_data)
    return loss.sum() - 0 * (valid_elbo + valid_log_p_x)


# real fix: log_q_z(...).sum(-1, keepdim=True), as in the generative model
TRUTH = dict(raises='RuntimeError', at='function:sub', culprits=['function:sum'], dim=1, got=32, wanted=8,
             hint_any=['keepdim', 'unsqueeze', '32', '8'])
MENDED = [('self.log_q_z(loc, scale, z).sum(-1)\n', 'self.log_q_z(loc, scale, z).sum(-1, keepdim=True)\n')]
