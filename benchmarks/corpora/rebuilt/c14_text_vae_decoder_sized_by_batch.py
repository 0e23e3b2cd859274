import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/asyml/texar-pytorch/issues/251'
CATEGORY = 'layer'
DESCRIPTION = "Text VAE: the decoder's input size is word embedding + batch_size, the latent code has latent_dims numbers (equal in the shipped configs only)."


class config_model:
    batch_size = 24
    latent_dims = 32
    embed_dim = 64
    hidden_size = 48
    dropout = 0.3
    num_layers = 1
    vocab_size = 120
    word_dropout = 0.1
    kl_anneal = dict(start=0.1, warm_up=10)


def kl_divergence(means, logvars):
    return (-0.5 * (logvars - logvars.exp() - means ** 2 + 1)).sum(1).mean()


class Connector(nn.Module):
    """Encoder state to mean and log-variance."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, 2 * outputs)

    def forward(self, state):
        return self.linear(torch.cat(state, dim=-1)[-1]).chunk(2, dim=-1)


class LSTMDecoder(nn.Module):
    def __init__(self, input_size, vocab_size, hidden_size, num_layers, dropout):
        super().__init__()
        self.input_dropout = nn.Dropout(dropout)
        self.cell = nn.LSTM(input_size, hidden_size, num_layers, batch_first=True)
        self.output_layer = nn.Linear(hidden_size, vocab_size)

    def forward(self, inputs, initial_state):
        out, _ = self.cell(self.input_dropout(inputs), initial_state)
        return self.output_layer(out)


class VAE(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.encoder_w_embedder = nn.Embedding(config.vocab_size, config.embed_dim, padding_idx=0)
        self.encoder = nn.LSTM(config.embed_dim, config.hidden_size, config.num_layers, batch_first=True)
        self.connector_mlp = Connector(2 * config.hidden_size, config.latent_dims)
        self.decoder_w_embedder = nn.Embedding(config.vocab_size, config.embed_dim, padding_idx=0)
        self.mlp_linear_layer = nn.Linear(config.latent_dims, 2 * config.hidden_size)
        self.decoder = LSTMDecoder(
            input_size=self.decoder_w_embedder.embedding_dim + config.batch_size,
            vocab_size=config.vocab_size, hidden_size=config.hidden_size,
            num_layers=config.num_layers, dropout=config.dropout)

    def encode(self, text_ids, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(self.encoder_w_embedder(text_ids), lengths, batch_first=True, enforce_sorted=False)
        _, state = self.encoder(packed)
        return self.connector_mlp(state)

    def decode(self, latent_z, input_ids):
        if self.training:
            drop = (torch.rand(input_ids.shape) < self.config.word_dropout) & (input_ids > 2)
            input_ids = input_ids.masked_fill(drop, 2)
        fc_output = self.mlp_linear_layer(latent_z).unsqueeze(0).expand(self.config.num_layers, -1, -1)
        initial_state = tuple(s.contiguous() for s in fc_output.chunk(2, dim=-1))
        embedded = self.decoder_w_embedder(input_ids)
        code = latent_z.unsqueeze(1).expand(-1, embedded.size(1), -1)
        return self.decoder(torch.cat([embedded, code], dim=-1), initial_state)

    def forward(self, text_ids, lengths, kl_weight):
        mean, logvar = self.encode(text_ids[:, 1:], lengths - 1)
        latent_z = mean + torch.randn_like(mean) * (0.5 * logvar).exp()
        logits = self.decode(latent_z, text_ids[:, :-1])
        rc_loss = F.cross_entropy(logits.transpose(1, 2), text_ids[:, 1:], ignore_index=0, reduction='sum') / len(text_ids)
        kl_loss = kl_divergence(mean, logvar)
        return dict(nll=rc_loss + kl_weight * kl_loss, kl_loss=kl_loss, rc_loss=rc_loss)


def build():
    return VAE(config_model)


def step(model):
    n, kl_weight = config_model.batch_size, config_model.kl_anneal['start']
    lengths = torch.randint(6, 15, (n,))
    lengths[0] = 14
    text_ids = torch.randint(3, config_model.vocab_size, (n, 14)) * (torch.arange(14)[None] < lengths[:, None])
    text_ids[:, 0] = 1
    losses = model(text_ids, lengths, kl_weight)
    return losses['nll']


# real fix: decoder_w_embedder.embedding_dim + config.latent_dims
# offending tensor: decoder input (24, 13, 96), LSTM(88, 48)
TRUTH = dict(raises='RuntimeError', at='module:decoder.cell', culprits=['decoder.cell', 'function:cat', 'decoder'], dim=2, got=96, wanted=88,
             hint_any=['input_size', '96', 'latent', 'cat'])
MENDED = [('embedding_dim + config.batch_size', 'embedding_dim + config.latent_dims')]
