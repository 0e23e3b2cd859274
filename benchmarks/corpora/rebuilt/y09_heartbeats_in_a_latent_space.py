import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://github.com/tejaslodaya/timeseries-clustering-vae/issues/3'
CATEGORY = 'silent'
DESCRIPTION = 'Clustering of heartbeats: a variational recurrent autoencoder turns each series into a latent vector and gives the series back.'


class Encoder(nn.Module):
    def __init__(self, number_of_features, hidden_size, hidden_layer_depth, latent_length, dropout, block='LSTM'):
        super().__init__()
        self.hidden_size = hidden_size
        self.hidden_layer_depth = hidden_layer_depth
        self.latent_length = latent_length
        cell = {'LSTM': nn.LSTM, 'GRU': nn.GRU}[block]
        self.model = cell(number_of_features, hidden_size, hidden_layer_depth, dropout=dropout)

    def forward(self, x):
        """x (sequence_length, batch_size, features), gives (batch_size, hidden_size)"""
        _, (h_end, c_end) = self.model(x)

        h_end = h_end[0, :, :]
        return h_end


class Lambda(nn.Module):
    def __init__(self, hidden_size, latent_length):
        super().__init__()
        self.hidden_to_mean = nn.Linear(hidden_size, latent_length)
        self.hidden_to_logvar = nn.Linear(hidden_size, latent_length)
        nn.init.xavier_uniform_(self.hidden_to_mean.weight)
        nn.init.xavier_uniform_(self.hidden_to_logvar.weight)

    def forward(self, cell_output):
        self.latent_mean = self.hidden_to_mean(cell_output)
        self.latent_logvar = self.hidden_to_logvar(cell_output)
        if self.training:
            std = torch.exp(0.5 * self.latent_logvar)
            return torch.randn_like(std) * std + self.latent_mean
        return self.latent_mean


class Decoder(nn.Module):
    def __init__(self, sequence_length, batch_size, hidden_size, hidden_layer_depth, latent_length, output_size):
        super().__init__()
        self.hidden_layer_depth = hidden_layer_depth
        self.model = nn.LSTM(1, hidden_size, hidden_layer_depth)
        self.latent_to_hidden = nn.Linear(latent_length, hidden_size)
        self.hidden_to_output = nn.Linear(hidden_size, output_size)
        self.register_buffer('decoder_inputs', torch.zeros(sequence_length, batch_size, 1))
        self.register_buffer('c_0', torch.zeros(hidden_layer_depth, batch_size, hidden_size))
        nn.init.xavier_uniform_(self.latent_to_hidden.weight)
        nn.init.xavier_uniform_(self.hidden_to_output.weight)

    def forward(self, latent):
        h_state = self.latent_to_hidden(latent)
        h_0 = torch.stack([h_state for _ in range(self.hidden_layer_depth)])
        decoder_output, _ = self.model(self.decoder_inputs, (h_0, self.c_0))
        return self.hidden_to_output(decoder_output)


class VRAE(nn.Module):
    def __init__(self, sequence_length, number_of_features, hidden_size=24, hidden_layer_depth=2, latent_length=8, batch_size=16,
                 learning_rate=0.005, dropout_rate=0., clip=True, max_grad_norm=5):
        super().__init__()
        self.encoder = Encoder(number_of_features, hidden_size, hidden_layer_depth, latent_length, dropout_rate)
        self.lmbd = Lambda(hidden_size, latent_length)
        self.decoder = Decoder(sequence_length, batch_size, hidden_size, hidden_layer_depth, latent_length, number_of_features)
        self.batch_size, self.clip, self.max_grad_norm = batch_size, clip, max_grad_norm
        self.learning_rate = learning_rate
        self.loss_fn = nn.MSELoss(reduction='sum')

    def forward(self, x):
        cell_output = self.encoder(x)
        latent = self.lmbd(cell_output)
        return self.decoder(latent), latent

    def _rec(self, x_decoded, x):
        latent_mean, latent_logvar = self.lmbd.latent_mean, self.lmbd.latent_logvar
        kl_loss = -0.5 * torch.mean(1 + latent_logvar - latent_mean.pow(2) - latent_logvar.exp())
        return kl_loss + self.loss_fn(x_decoded, x)

    def fit(self, dataset):
        loader = DataLoader(dataset, batch_size=self.batch_size, shuffle=True, drop_last=True)
        optimizer = optim.Adam(self.parameters(), lr=self.learning_rate)
        self.train()
        epoch_loss = 0
        for t, (X,) in enumerate(loader):
            # the loader gives (batch_size x seq_len x features)
            X = X.permute(1, 0, 2)
            optimizer.zero_grad()
            x_decoded, _ = self(X)
            loss = self._rec(x_decoded, X.detach())
            loss.backward()
            if self.clip:
                nn.utils.clip_grad_norm_(self.parameters(), max_norm=self.max_grad_norm)
            optimizer.step()
            epoch_loss = epoch_loss + loss.detach()
        return epoch_loss / (t + 1)


def build():
    return VRAE(sequence_length=20, number_of_features=1)


def step(model):
    phase = torch.rand(40, 1, 1) * 6.28
    beats = torch.sin(torch.linspace(0, 9, 20)[None, :, None] + phase) + 0.1 * torch.randn(40, 20, 1)
    return model.fit(TensorDataset(beats))


# h_n is (layers, batch, hidden): [0] is the last state of the FIRST layer, the second layer of the encoder is never used; [-1] is meant
TRUTH = dict(raises=None, at=None, culprits=['encoder', 'encoder.model', 'function:__getitem__'], dim=0, got=None, wanted=None,
             hint_any=['first layer', 'last layer', 'layer', 'never used', 'no gradient', 'unused'])
MENDED = [('h_end = h_end[0, :, :]', 'h_end = h_end[-1, :, :]')]
