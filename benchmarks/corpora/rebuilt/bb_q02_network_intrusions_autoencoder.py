import csv
import io

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/imoken1122/Intrusion-Detection-CVAE/issues/2'
CATEGORY = 'layer'
DESCRIPTION = ('Conditional VAE for network intrusions: the prepared table is written to a csv file together with its row index, '
               'so every row that is read back has one number more than there are features.')

NUMERIC = ['duration', 'src_bytes', 'dst_bytes', 'hot', 'num_failed_logins', 'count', 'srv_count', 'serror_rate', 'rerror_rate', 'same_srv_rate']
SERVICES = ['http', 'smtp', 'ftp', 'private', 'domain_u', 'other']
FLAGS = ['SF', 'S0', 'REJ', 'RSTR']
ATTACKS = ['normal', 'dos', 'probe', 'r2l', 'u2r']


class Table:
    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows

    def to_csv(self, buffer, index=True):
        writer = csv.writer(buffer)
        writer.writerow((['']  if index else []) + self.columns)
        for i, row in enumerate(self.rows):
            writer.writerow(([i] if index else []) + row)


def one_hot(i, n):
    return [1.0 if j == i else 0.0 for j in range(n)]


def preprocess(n_rows):
    g = torch.Generator().manual_seed(3)
    rows, labels = [], []
    for _ in range(n_rows):
        numeric = torch.rand(len(NUMERIC), generator=g).tolist()
        service = int(torch.randint(len(SERVICES), (1,), generator=g))
        flag = int(torch.randint(len(FLAGS), (1,), generator=g))
        rows.append(numeric + one_hot(service, len(SERVICES)) + one_hot(flag, len(FLAGS)))
        labels.append(int(torch.randint(len(ATTACKS), (1,), generator=g)))
    return Table(NUMERIC + SERVICES + FLAGS, rows), labels


class KDDDataset(Dataset):
    def __init__(self, buffer, labels):
        buffer.seek(0)
        reader = csv.reader(buffer)
        next(reader)
        self.x = torch.tensor([[float(v) for v in row] for row in reader])
        self.y = torch.tensor(labels)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], F.one_hot(self.y[i], len(ATTACKS)).float()


class Encoder(nn.Module):
    def __init__(self, d_in, d_cond, hidden, latent):
        super().__init__()
        self.fc1 = nn.Linear(d_in + d_cond, hidden)
        self.fc2 = nn.Linear(hidden, hidden // 2)
        self.mu = nn.Linear(hidden // 2, latent)
        self.logvar = nn.Linear(hidden // 2, latent)

    def forward(self, x, c):
        h = F.relu(self.fc1(torch.cat([x, c], 1)))
        h = F.relu(self.fc2(h))
        return self.mu(h), self.logvar(h)


class Decoder(nn.Module):
    def __init__(self, d_out, d_cond, hidden, latent):
        super().__init__()
        self.fc1 = nn.Linear(latent + d_cond, hidden // 2)
        self.fc2 = nn.Linear(hidden // 2, hidden)
        self.fc3 = nn.Linear(hidden, d_out)

    def forward(self, z, c):
        h = F.relu(self.fc1(torch.cat([z, c], 1)))
        return torch.sigmoid(self.fc3(F.relu(self.fc2(h))))


class CVAE(nn.Module):
    def __init__(self, d_in, d_cond, hidden=32, latent=6):
        super().__init__()
        self.encoder = Encoder(d_in, d_cond, hidden, latent)
        self.decoder = Decoder(d_in, d_cond, hidden, latent)

    def forward(self, x, c):
        mu, logvar = self.encoder(x, c)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        return self.decoder(z, c), mu, logvar


def loss_function(recon, x, mu, logvar):
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return (F.mse_loss(recon, x, reduction='sum') + kld) / len(x)


def build():
    torch.manual_seed(0)
    return CVAE(d_in=len(NUMERIC) + len(SERVICES) + len(FLAGS), d_cond=len(ATTACKS))


def step(model):
    torch.manual_seed(1)
    train, labels = preprocess(40)
    buffer = io.StringIO()
    train.to_csv(buffer)
    loader = DataLoader(KDDDataset(buffer, labels), batch_size=16, shuffle=True)
    x, c = next(iter(loader))
    recon, mu, logvar = model(x, c)
    return loss_function(recon, x, mu, logvar)


# real fix: train.to_csv(..., index=False)
# offending tensor: x (16, 21), joined with 5 labels it has 26 columns where the encoder was built for 25
TRUTH = dict(raises='RuntimeError', at='module:encoder.fc1', culprits=['input'], dim=1, got=26, wanted=25, hint_any=['26', '21', 'input', 'column', 'in_features'])
MENDED = [('train.to_csv(buffer)', 'train.to_csv(buffer, index=False)')]
