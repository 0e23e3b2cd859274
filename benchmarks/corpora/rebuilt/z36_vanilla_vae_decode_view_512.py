import torch
from torch import nn
from torch.nn import functional as F

SOURCE = 'https://github.com/AntixK/PyTorch-VAE/pull/17'
CATEGORY = 'layer'
DESCRIPTION = 'decode() reshapes to 512 channels whatever hidden_dims is; a narrower VAE gets half the samples with twice the channels.'


class BaseVAE(nn.Module):
    def encode(self, input):
        raise NotImplementedError

    def decode(self, z):
        raise NotImplementedError

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        return torch.randn_like(std) * std + mu


class VanillaVAE(BaseVAE):
    def __init__(self, in_channels, latent_dim, hidden_dims=None, **kwargs):
        super().__init__()
        self.latent_dim = latent_dim
        if hidden_dims is None:
            hidden_dims = [32, 64, 128, 256, 512]

        modules, c = [], in_channels
        for h_dim in hidden_dims:
            modules.append(nn.Sequential(nn.Conv2d(c, h_dim, 3, stride=2, padding=1), nn.BatchNorm2d(h_dim), nn.LeakyReLU()))
            c = h_dim
        self.encoder = nn.Sequential(*modules)
        self.fc_mu = nn.Linear(hidden_dims[-1] * 4, latent_dim)
        self.fc_var = nn.Linear(hidden_dims[-1] * 4, latent_dim)

        self.decoder_input = nn.Linear(latent_dim, hidden_dims[-1] * 4)
        dims = hidden_dims[::-1]
        self.decoder = nn.Sequential(*[
            nn.Sequential(nn.ConvTranspose2d(dims[i], dims[i + 1], 3, stride=2, padding=1, output_padding=1),
                          nn.BatchNorm2d(dims[i + 1]), nn.LeakyReLU())
            for i in range(len(dims) - 1)])
        self.final_layer = nn.Sequential(
            nn.ConvTranspose2d(dims[-1], dims[-1], 3, stride=2, padding=1, output_padding=1),
            nn.BatchNorm2d(dims[-1]), nn.LeakyReLU(), nn.Conv2d(dims[-1], in_channels, 3, padding=1), nn.Tanh())

    def encode(self, input):
        result = torch.flatten(self.encoder(input), start_dim=1)
        return [self.fc_mu(result), self.fc_var(result)]

    def decode(self, z):
        result = self.decoder_input(z)
        result = result.view(-1, 512, 2, 2)
        result = self.decoder(result)
        return self.final_layer(result)

    def forward(self, input):
        mu, log_var = self.encode(input)
        z = self.reparameterize(mu, log_var)
        return [self.decode(z), input, mu, log_var]

    def loss_function(self, recons, input, mu, log_var, M_N):
        recons_loss = F.mse_loss(recons, input)
        kld_loss = torch.mean(-0.5 * torch.sum(1 + log_var - mu ** 2 - log_var.exp(), dim=1), dim=0)
        return {'loss': recons_loss + M_N * kld_loss, 'Reconstruction_Loss': recons_loss.detach(), 'KLD': -kld_loss.detach()}


vae_models = {'VanillaVAE': VanillaVAE}

config = dict(
    model_params=dict(name='VanillaVAE', in_channels=1, latent_dim=16, hidden_dims=[16, 32, 64, 128, 256]),
    exp_params=dict(batch_size=8, img_size=64, kld_weight=0.00025))


class VAEXperiment(nn.Module):
    def __init__(self, vae_model, params):
        super().__init__()
        self.model, self.params = vae_model, params

    def training_step(self, batch):
        results = self.model(batch)
        return self.model.loss_function(*results, M_N=self.params['kld_weight'])['loss']


def build():
    torch.manual_seed(0)
    model = vae_models[config['model_params']['name']](**config['model_params'])
    return VAEXperiment(model, config['exp_params'])


def step(model):
    p = config['exp_params']
    return model.training_step(torch.rand(p['batch_size'], 1, p['img_size'], p['img_size']) * 2 - 1)


# real fix: view(-1, hidden_dims[-1], 2, 2)
TRUTH = dict(raises='RuntimeError', at='module:model.decoder.0.0', culprits=['function:view'], dim=1, got=512, wanted=256,
             hint_any=['view', '256', 'batch', 'reshape', 'hidden'])
MENDED = [('result.view(-1, 512, 2, 2)', 'result.view(result.size(0), -1, 2, 2)')]
