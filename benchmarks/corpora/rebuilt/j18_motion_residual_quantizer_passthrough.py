import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/EricGuo5513/momask-codes/issues/67'
CATEGORY = 'correct'
DESCRIPTION = 'Residual quantizer for motion: x_d = x + (x_d - x).detach() and a commitment loss with x_d.detach(), asked about in the issue; the gradient is copied past the codes on purpose.'


class QuantizeEMAReset(nn.Module):
    def __init__(self, nb_code, code_dim, mu=0.99):
        super().__init__()
        self.nb_code, self.mu = nb_code, mu
        self.register_buffer('codebook', torch.randn(nb_code, code_dim))
        self.register_buffer('code_sum', self.codebook.clone())
        self.register_buffer('code_count', torch.ones(nb_code))

    def quantize(self, x):
        distance = torch.sum(x ** 2, dim=-1, keepdim=True) - 2 * torch.matmul(x, self.codebook.t()) + torch.sum(self.codebook.t() ** 2, dim=0, keepdim=True)
        return torch.min(distance, dim=-1)[1]

    @torch.no_grad()
    def update_codebook(self, x, code_idx):
        onehot = F.one_hot(code_idx, self.nb_code).type_as(x)
        self.code_sum = self.mu * self.code_sum + (1 - self.mu) * torch.matmul(onehot.t(), x)
        self.code_count = self.mu * self.code_count + (1 - self.mu) * onehot.sum(dim=0)
        self.codebook = self.code_sum / self.code_count.unsqueeze(-1)

    def forward(self, x):
        N, width, T = x.shape
        x = x.permute(0, 2, 1).reshape(-1, width)
        code_idx = self.quantize(x.detach())
        x_d = F.embedding(code_idx, self.codebook)
        if self.training:
            self.update_codebook(x.detach(), code_idx)
        commit_loss = F.mse_loss(x, x_d.detach())
        x_d = x + (x_d - x).detach()
        x_d = x_d.view(N, T, -1).permute(0, 2, 1).contiguous()
        return x_d, code_idx.view(N, T), commit_loss


class ResidualVQ(nn.Module):
    def __init__(self, num_quantizers, nb_code, code_dim):
        super().__init__()
        self.layers = nn.ModuleList(QuantizeEMAReset(nb_code, code_dim) for _ in range(num_quantizers))

    def forward(self, x):
        quantized_out, residual, losses = 0., x, []
        for layer in self.layers:
            quantized, _, loss = layer(residual)
            residual = residual - quantized.detach()
            quantized_out = quantized_out + quantized
            losses.append(loss)
        return quantized_out, sum(losses) / len(losses)


class RVQVAE(nn.Module):
    def __init__(self, input_width=30, code_dim=16):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv1d(input_width, 24, 3, 1, 1), nn.ReLU(), nn.Conv1d(24, 24, 4, 2, 1), nn.ReLU(), nn.Conv1d(24, code_dim, 3, 1, 1))
        self.quantizer = ResidualVQ(3, 20, code_dim)
        self.decoder = nn.Sequential(nn.Conv1d(code_dim, 24, 3, 1, 1), nn.ReLU(), nn.Upsample(scale_factor=2, mode='nearest'), nn.Conv1d(24, input_width, 3, 1, 1))

    def forward(self, x):
        x_encoder = self.encoder(x.permute(0, 2, 1).float())
        x_quantized, commit_loss = self.quantizer(x_encoder)
        return self.decoder(x_quantized).permute(0, 2, 1), commit_loss


def build():
    return RVQVAE()


def step(model):
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4, betas=(0.9, 0.99))
    motions = torch.randn(6, 16, 30).cumsum(dim=1) * 0.2
    pred_motion, loss_commit = model(motions)
    loss_rec = F.smooth_l1_loss(pred_motion, motions)
    loss_explicit = F.smooth_l1_loss(pred_motion[..., 4:16], motions[..., 4:16])
    loss = loss_rec + 0.5 * loss_explicit + 0.02 * loss_commit
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
