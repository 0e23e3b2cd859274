import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/EDAPINENUT/GNTPP/issues/4'
CATEGORY = 'silent'
DESCRIPTION = 'Temporal point process with a VAE decoder: the KL term and the one-hot event mask.'


class EncoderModule(nn.Module):
    def __init__(self, embed_size, layer_num):
        super().__init__()
        self.network_t = nn.Linear(1, embed_size)
        self.network_h = nn.Linear(embed_size, embed_size)
        self.network = nn.ModuleList([nn.Linear(embed_size, embed_size) for _ in range(layer_num)])
        self.mean_network = nn.Linear(embed_size, embed_size)
        self.var_network = nn.Linear(embed_size, embed_size)

    def forward(self, t, h):
        emb = self.network_t(t.unsqueeze(dim=-1)) + self.network_h(h)
        for linear in self.network:
            emb = F.gelu(linear(emb))
        return self.mean_network(emb), self.var_network(emb)


class DecoderModule(nn.Module):
    def __init__(self, embed_size, layer_num):
        super().__init__()
        self.network_z = nn.Linear(embed_size, embed_size)
        self.network_h = nn.Linear(embed_size, embed_size)
        self.network = nn.ModuleList([nn.Linear(embed_size, embed_size) for _ in range(layer_num)])
        self.out_network = nn.Linear(embed_size, 1)

    def forward(self, z, h):
        emb = self.network_z(z) + self.network_h(h)
        for linear in self.network:
            emb = F.gelu(linear(emb))
        return self.out_network(emb).squeeze(dim=-1)


class VAEDecoder(nn.Module):
    def __init__(self, embed_size, layer_num, event_type_num):
        super().__init__()
        self.encoder = EncoderModule(embed_size, layer_num)
        self.decoder = DecoderModule(embed_size, layer_num)
        self.mark = nn.Linear(embed_size, 1)

    def forward(self, seq_dts, seq_onehots, history):
        event_num = history.shape[2]
        dts = torch.log(seq_dts.clamp(1e-8)).unsqueeze(dim=-1).expand(-1, -1, event_num)
        mean, log_var = self.encoder(dts, history)
        z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
        dts_hat = self.decoder(z, history)
        rec_loss = (dts - dts_hat) ** 2 * seq_onehots
        kl_loss = (-0.5 * torch.sum(1 + log_var - mean.pow(2) - log_var.exp())) * seq_onehots
        log_loss = (rec_loss + kl_loss).sum()
        return log_loss, self.mark(history).squeeze(-1)


class TPP(nn.Module):
    def __init__(self, event_type_num=4, embed_size=16):
        super().__init__()
        self.event_type_num = event_type_num
        self.type_emb = nn.Embedding(event_type_num + 1, embed_size - 1)
        self.hist_encoder = nn.GRU(embed_size, embed_size, batch_first=True)
        self.type_bias = nn.Parameter(torch.randn(event_type_num, embed_size) * 0.1)
        self.prob_dec = VAEDecoder(embed_size, 2, event_type_num)

    def forward(self, seq_dts, seq_types):
        events = torch.cat([self.type_emb(seq_types), seq_dts.unsqueeze(-1)], dim=-1)
        history = self.hist_encoder(events)[0][:, :-1]
        history = history.unsqueeze(2) + self.type_bias
        dts, types = seq_dts[:, 1:], seq_types[:, 1:]
        onehots = F.one_hot(types, self.event_type_num + 1)[..., :-1].float()
        log_loss, logits = self.prob_dec(dts, onehots, history)
        mask = types < self.event_type_num
        ce = F.cross_entropy(logits[mask], types[mask], reduction='sum')
        return (log_loss + ce) / mask.sum()


def build():
    return TPP()


def step(model):
    lengths = torch.tensor([9, 7, 5, 4, 9, 6])
    seq_types = torch.randint(0, 4, (6, 9))
    pad = torch.arange(9)[None] >= lengths[:, None]
    seq_types = seq_types.masked_fill(pad, 4)
    seq_dts = torch.rand(6, 9) + 0.1
    loss = model(seq_dts, seq_types)
    loss.backward()
    return loss.detach()


# torch.sum without dim gives one number for the whole batch (padding and other event types too), which the (B, L, E)
# one-hot mask then multiplies; fix: dim=-1
TRUTH = dict(raises=None, at='function:sum', culprits=['function:sum'], dim=None, got=None, wanted=None,
             hint_any=['dim=-1', 'dim', 'scalar', 'whole'])
MENDED = [('mean.pow(2) - log_var.exp()))', 'mean.pow(2) - log_var.exp(), dim=-1))')]
