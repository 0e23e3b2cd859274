import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/charlesq34/pointnet-autoencoder/issues/15'
CATEGORY = 'silent'
DESCRIPTION = 'Point cloud autoencoder: Chamfer loss wants (B, N, 3) and is given (B, 3, N), three points of N coordinates.'


class PointCloudEncoder(nn.Module):
    def __init__(self, latent_size, widths=(16, 32)):
        super().__init__()
        layers, cin = [], 3
        for w in list(widths) + [latent_size]:
            layers += [nn.Conv1d(cin, w, 1), nn.BatchNorm1d(w), nn.ReLU()]
            cin = w
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x):
        return torch.max(self.layers(x), dim=2)[0]


class PointCloudDecoder(nn.Module):
    def __init__(self, latent_size, point_size):
        super().__init__()
        self.point_size = point_size
        self.dec1 = nn.Linear(latent_size, 64)
        self.dec2 = nn.Linear(64, 64)
        self.dec3 = nn.Linear(64, point_size * 3)

    def forward(self, z):
        x = F.relu(self.dec2(F.relu(self.dec1(z))))
        return self.dec3(x).view(-1, 3, self.point_size)


class PointCloudAE(nn.Module):
    def __init__(self, point_size=96, latent_size=48):
        super().__init__()
        self.encoder = PointCloudEncoder(latent_size)
        self.decoder = PointCloudDecoder(latent_size, point_size)

    def forward(self, x):
        z = self.encoder(x)
        return self.decoder(z), z


class ChamferLoss(nn.Module):
    """Both clouds are (batch, num_points, num_dim)."""

    def forward(self, preds, gts):
        dist = torch.cdist(preds, gts)
        return dist.min(dim=1)[0].mean() + dist.min(dim=2)[0].mean()


class ShapeNetDataset(torch.utils.data.Dataset):
    def __init__(self, n_points=96):
        self.n_points = n_points

    def __len__(self):
        return 16

    def __getitem__(self, i):
        g = torch.Generator().manual_seed(i)
        points = torch.randn(self.n_points, 3, generator=g)
        return points / points.norm(dim=1).max()


def build():
    return PointCloudAE()


def step(model):
    loader = torch.utils.data.DataLoader(ShapeNetDataset(), batch_size=8)
    chamfer_loss = ChamferLoss()
    for data in loader:
        points = data
        points = points.transpose(2, 1)
        reconstructed_points, latent_vector = model(points)
        return chamfer_loss(points, reconstructed_points)


# real fix: transpose both clouds back to (B, N, 3) before the loss
TRUTH = dict(raises=None, at='function:cdist', culprits=['function:cdist', 'function:transpose'], dim=1, got=3, wanted=96,
             hint_any=['transpose', 'permute', '(8, 96, 3)', '3'])
MENDED = [('chamfer_loss(points, reconstructed_points)', 'chamfer_loss(points.transpose(1, 2), reconstructed_points.transpose(1, 2))')]
