import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/VGraphRNN/VGRNN/issues/4'
CATEGORY = 'silent'
DESCRIPTION = 'Variational graph RNN over snapshots of a graph: the gradients are clipped after optimizer.step(), so the clipping has no effect on any update.'

EPS = 1e-10


class GCNConv(nn.Module):
    def __init__(self, in_channels, out_channels, act=F.relu):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_channels, out_channels))
        self.act = act
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x, adj):
        adj = adj + torch.eye(adj.size(0))
        deg = adj.sum(1).pow(-0.5)
        adj = deg[:, None] * adj * deg[None, :]
        return self.act(adj @ (x @ self.weight))


class GraphGRU(nn.Module):
    def __init__(self, in_size, hidden):
        super().__init__()
        identity = lambda v: v
        self.xz, self.hz = GCNConv(in_size, hidden, identity), GCNConv(hidden, hidden, identity)
        self.xr, self.hr = GCNConv(in_size, hidden, identity), GCNConv(hidden, hidden, identity)
        self.xh, self.hh = GCNConv(in_size, hidden, identity), GCNConv(hidden, hidden, identity)

    def forward(self, x, adj, h):
        z = torch.sigmoid(self.xz(x, adj) + self.hz(h, adj))
        r = torch.sigmoid(self.xr(x, adj) + self.hr(h, adj))
        new = torch.tanh(self.xh(x, adj) + self.hh(r * h, adj))
        return z * h + (1 - z) * new


class VGRNN(nn.Module):
    def __init__(self, x_dim, h_dim, z_dim):
        super().__init__()
        self.h_dim = h_dim
        self.phi_x = nn.Sequential(nn.Linear(x_dim, h_dim), nn.ReLU())
        self.phi_z = nn.Sequential(nn.Linear(z_dim, h_dim), nn.ReLU())
        self.enc = GCNConv(2 * h_dim, h_dim)
        self.enc_mean = GCNConv(h_dim, z_dim, lambda v: v)
        self.enc_std = GCNConv(h_dim, z_dim, F.softplus)
        self.prior = nn.Sequential(nn.Linear(h_dim, h_dim), nn.ReLU())
        self.prior_mean = nn.Linear(h_dim, z_dim)
        self.prior_std = nn.Sequential(nn.Linear(h_dim, z_dim), nn.Softplus())
        self.rnn = GraphGRU(2 * h_dim, h_dim)

    def forward(self, x, adjs):
        kld_loss, nll_loss = 0, 0
        h = torch.zeros(x.size(1), self.h_dim)
        for t in range(x.size(0)):
            phi_x_t = self.phi_x(x[t])
            enc_t = self.enc(torch.cat([phi_x_t, h], 1), adjs[t])
            enc_mean_t, enc_std_t = self.enc_mean(enc_t, adjs[t]), self.enc_std(enc_t, adjs[t])
            prior_t = self.prior(h)
            prior_mean_t, prior_std_t = self.prior_mean(prior_t), self.prior_std(prior_t)
            z_t = enc_mean_t + torch.randn_like(enc_std_t) * enc_std_t
            phi_z_t = self.phi_z(z_t)
            dec_t = z_t @ z_t.t()
            h = self.rnn(torch.cat([phi_x_t, phi_z_t], 1), adjs[t], h)
            kld_loss = kld_loss + self._kld_gauss(enc_mean_t, enc_std_t, prior_mean_t, prior_std_t)
            nll_loss = nll_loss + self._nll_bernoulli(dec_t, adjs[t])
        return kld_loss, nll_loss

    def _kld_gauss(self, mean_1, std_1, mean_2, std_2):
        num_nodes = mean_1.size(0)
        element = (2 * torch.log(std_2 + EPS) - 2 * torch.log(std_1 + EPS)
                   + (std_1.pow(2) + (mean_1 - mean_2).pow(2)) / (std_2 + EPS).pow(2) - 1)
        return (0.5 / num_nodes) * element.sum(1).mean()

    def _nll_bernoulli(self, logits, target):
        nodes = target.size(0)
        posw = float(nodes * nodes - target.sum()) / target.sum()
        nll = F.binary_cross_entropy_with_logits(logits, target, pos_weight=posw, reduction='none')
        return nll.sum(1).mean()


def build():
    return VGRNN(x_dim=14, h_dim=16, z_dim=8)


def step(model):
    clip = 10
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)
    upper = torch.triu((torch.rand(4, 14, 14) < 0.2).float(), 1)
    adjs = upper + upper.transpose(1, 2)
    x = torch.eye(14).expand(4, 14, 14)
    for _ in range(3):
        optimizer.zero_grad()
        kld_loss, nll_loss = model(x, adjs)
        loss = kld_loss + nll_loss
        loss.backward()
        optimizer.step()
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    return loss.detach()


# clip_grad_norm_ belongs between backward and step
TRUTH = dict(raises=None, at='function:clip_grad_norm_', culprits=['function:clip_grad_norm_', 'function:step'], dim=None, got=None, wanted=None,
             hint_any=['clip', 'before', 'step', 'order', 'no effect'])
MENDED = [('''        optimizer.step()
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
''', '''        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
''')]
