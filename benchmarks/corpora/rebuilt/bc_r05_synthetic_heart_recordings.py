import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/AI4HealthUOL/SSSD-ECG/issues/5 (6x44 and 71x128; that the 44 labels are the diagnostic statements of PTB-XL is read from the numbers)'
CATEGORY = 'layer'
DESCRIPTION = ('Diffusion of ECGs conditioned on statements: the label table is made for all 71 statements of PTB-XL, the label file was prepared with the '
               '44 diagnostic ones.')


def calc_diffusion_step_embedding(steps, dim):
    half = dim // 2
    freq = torch.exp(torch.arange(half) * -(math.log(10000) / (half - 1)))
    emb = steps * freq
    return torch.cat((torch.sin(emb), torch.cos(emb)), 1)


class Conv(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size=3):
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)

    def forward(self, x):
        return self.conv(x)


class ResidualBlock(nn.Module):
    def __init__(self, res_channels, skip_channels, step_dim, label_dim):
        super().__init__()
        self.fc_t = nn.Linear(step_dim, res_channels)
        self.conv_layer = Conv(res_channels, 2 * res_channels)
        self.cond_conv = Conv(label_dim, 2 * res_channels, kernel_size=1)
        self.res_conv = nn.Conv1d(res_channels, res_channels, 1)
        self.skip_conv = nn.Conv1d(res_channels, skip_channels, 1)

    def forward(self, x, label_embed, step_embed):
        h = x + self.fc_t(step_embed).unsqueeze(-1)
        h = self.conv_layer(h)
        if label_embed is not None:
            h = h + self.cond_conv(label_embed.unsqueeze(2))
        a, b = h.chunk(2, dim=1)
        out = torch.tanh(a) * torch.sigmoid(b)
        return (x + self.res_conv(out)) * math.sqrt(0.5), self.skip_conv(out)


class SSSD_ECG(nn.Module):
    def __init__(self, in_channels, res_channels, skip_channels, out_channels, num_res_layers, diffusion_step_embed_dim, label_embed_dim, label_embed_classes):
        super().__init__()
        self.step_dim = diffusion_step_embed_dim
        self.init_conv = nn.Sequential(Conv(in_channels, res_channels, 1), nn.ReLU())
        self.embedding = nn.Embedding(label_embed_classes, label_embed_dim) if label_embed_dim > 0 else None
        self.fc = nn.Sequential(nn.Linear(diffusion_step_embed_dim, diffusion_step_embed_dim), nn.SiLU())
        self.residual_blocks = nn.ModuleList(ResidualBlock(res_channels, skip_channels, diffusion_step_embed_dim, label_embed_dim) for _ in range(num_res_layers))
        self.final_conv = nn.Sequential(Conv(skip_channels, skip_channels, 1), nn.ReLU(), Conv(skip_channels, out_channels, 1))

    def forward(self, input_data):
        noise, label, diffusion_steps = input_data
        label_embed = label @ self.embedding.weight if self.embedding is not None else None
        x = self.init_conv(noise)
        step_embed = self.fc(calc_diffusion_step_embedding(diffusion_steps, self.step_dim))
        skip = 0
        for block in self.residual_blocks:
            x, s = block(x, label_embed, step_embed)
            skip = skip + s
        return self.final_conv(skip * math.sqrt(1.0 / len(self.residual_blocks)))


def training_loss_label(net, loss_fn, X, label, alpha_bar):
    B = X.shape[0]
    diffusion_steps = torch.randint(len(alpha_bar), size=(B, 1, 1))
    z = torch.randn_like(X)
    transformed_X = torch.sqrt(alpha_bar[diffusion_steps]) * X + torch.sqrt(1 - alpha_bar[diffusion_steps]) * z
    epsilon_theta = net((transformed_X, label, diffusion_steps.view(B, 1)))
    return loss_fn(epsilon_theta, z)


STATEMENTS = {'all': 71, 'diagnostic': 44, 'rhythm': 12, 'form': 19}


class PTBXL(torch.utils.data.Dataset):
    def __init__(self, size, ctype='diagnostic'):
        self.data = torch.randn(size, 8, 200)
        self.labels = (torch.rand(size, STATEMENTS[ctype]) < 0.05).float()

    def __len__(self):
        return len(self.data)

    def __getitem__(self, i):
        return self.data[i], self.labels[i]


config = dict(in_channels=8, out_channels=8, num_res_layers=3, res_channels=32, skip_channels=32, diffusion_step_embed_dim=32, label_embed_dim=128,
              label_embed_classes=71)


def build():
    torch.manual_seed(0)
    return SSSD_ECG(**config)


def step(model):
    loader = torch.utils.data.DataLoader(PTBXL(24), batch_size=6, shuffle=True)
    alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 200), 0)
    audio, label = next(iter(loader))
    return training_loss_label(model, nn.MSELoss(), audio, label, alpha_bar)


# real answer: label_embed_classes of the config has to be the number of statements in the label file (or prepare all 71)
TRUTH = dict(raises='RuntimeError', at='function:matmul', culprits=['embedding', 'input'], dim=1, got=44, wanted=71,
             hint_any=['embedding', '44', 'label_embed_classes'])
MENDED = [("PTBXL(24)", "PTBXL(24, ctype='all')")]
