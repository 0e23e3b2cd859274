import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/kaist-dmlab/TRAP/pull/1'
CATEGORY = 'silent'
DESCRIPTION = 'Multi-VAE: both mu and logvar are cut from the first half of the encoder output; the second half is never used.'


class Args:
    U_hidden_neuron = 12
    lambda_value = 1e-4
    anneal_cap = 0.2
    total_anneal = 20
    batch_size = 16
    keep = 0.5


class MultiVAE(nn.Module):
    def __init__(self, args, num_cols=60):
        super().__init__()
        self.args = args
        self.U_hidden_neuron = args.U_hidden_neuron
        self.encoder = nn.Sequential(nn.Linear(num_cols, 48), nn.Tanh(), nn.Linear(48, 2 * args.U_hidden_neuron))
        self.decoder = nn.Sequential(nn.Linear(args.U_hidden_neuron, 48), nn.Tanh(), nn.Linear(48, num_cols))
        self.drop = nn.Dropout(1 - args.keep)
        self.update_cnt = 4

    def q_graph(self, input_R_U):
        h = self.drop(F.normalize(input_R_U, dim=1))
        U_Encoder = self.encoder(h)
        mu_q = U_Encoder[:, :self.U_hidden_neuron]
        logvar_q = U_Encoder[:, :self.U_hidden_neuron]
        std_q = torch.exp(0.5 * logvar_q)
        KL = torch.mean(torch.sum(0.5 * (-logvar_q + torch.exp(logvar_q) + mu_q ** 2 - 1), dim=1))
        return mu_q, std_q, KL

    def forward(self, input_R_U):
        mu_q, std_q, KL = self.q_graph(input_R_U)
        sampled_z = mu_q + self.training * torch.randn_like(std_q) * std_q
        logits = self.decoder(sampled_z)
        return F.log_softmax(logits, dim=1), KL

    def regularizer(self):
        return sum((p ** 2).sum() for name, p in self.named_parameters() if name.endswith('weight'))

    def cost(self, input_R_U):
        log_softmax_var, KL = self(input_R_U)
        neg_ll = -torch.mean(torch.sum(log_softmax_var * input_R_U, dim=-1))
        anneal = min(self.args.anneal_cap, 1.0 * self.update_cnt / self.args.total_anneal)
        return neg_ll + anneal * KL + self.args.lambda_value * self.regularizer()


class RatingMatrix:
    def __init__(self, num_rows=40, num_cols=60):
        popularity = torch.linspace(0.6, 0.02, num_cols)
        self.train_R = (torch.rand(num_rows, num_cols) < popularity).float()

    def batches(self, batch_size):
        random_row_idx = torch.randperm(len(self.train_R))
        for i in range(0, len(random_row_idx), batch_size):
            yield self.train_R[random_row_idx[i:i + batch_size]]


def build():
    return MultiVAE(Args())


def step(model):
    loader = RatingMatrix().batches(Args.batch_size)
    return model.cost(next(loader))


# real fix: logvar_q = U_Encoder[:, self.U_hidden_neuron:]
TRUTH = dict(raises=None, at='function:getitem', culprits=['function:getitem', 'function:__getitem__'], dim=1, got=None, wanted=None,
             hint_any=['half', 'unused', 'never used', 'not used', 'slice', 'same'])
MENDED = [('logvar_q = U_Encoder[:, :self.U_hidden_neuron]', 'logvar_q = U_Encoder[:, self.U_hidden_neuron:]')]
