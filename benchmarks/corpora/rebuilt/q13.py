import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/pytorch/pytorch/issues/19564'
CATEGORY = 'loss'
DESCRIPTION = 'VAE exercise: vae_loss(x, x_hat, ...) is called with the prediction first, so the flattened prediction becomes the target of the raw images.'


class Encoder(nn.Module):
    def __init__(self, input_size, hidden=64, latent=8):
        super().__init__()
        self.fc1 = nn.Linear(input_size, hidden)
        self.bn = nn.BatchNorm1d(hidden)
        self.mu, self.logvar = nn.Linear(hidden, latent), nn.Linear(hidden, latent)

    def forward(self, x):
        x = x.view(x.size(0), -1)
        h = F.relu(self.bn(self.fc1(x)))
        return self.mu(h), self.logvar(h)


class Decoder(nn.Module):
    def __init__(self, latent=8, hidden=64, output_size=784):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(latent, hidden), nn.Linear(hidden, output_size)

    def forward(self, z):
        return torch.sigmoid(self.fc2(F.relu(self.fc1(z))))


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = Encoder(784), Decoder()
        self.classifier = nn.Linear(8, 10)


def reparameterize(mu, logvar):
    return mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)


def vae_loss(x, x_hat, mu, logvar):
    BCE = F.binary_cross_entropy(x_hat, x.view(-1, 784))
    KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    KLD = KLD / (x.size(0) * 784)
    return BCE + KLD


def train(model, train_loader, loss_func, num_epochs=1):
    total = 0.
    for epoch in range(num_epochs):
        for xb, yb in train_loader:
            mu, logvar = model.encoder(xb)
            z = reparameterize(mu, logvar)
            pred = model.decoder(z)
            loss = loss_func(pred, xb, mu, logvar)
            loss = loss + 0.1 * F.cross_entropy(model.classifier(mu), yb)
            total = total + loss
    return total / num_epochs


def build():
    return VAE()


def step(model):
    train_loader = [(torch.rand(32, 1, 28, 28), torch.randint(0, 10, (32,))) for _ in range(2)]
    return train(model, train_loader, vae_loss)


# real fix: the images first, loss_func(xb, pred, mu, logvar)
# offending tensor: x_hat, the images (32, 1, 28, 28), against the target (32, 784)
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy', culprits=['input', 'target', 'function:view', ''], dim=None, got=None, wanted=784,
             hint_any=['swap', 'view', 'flatten', 'argument', 'order', 'reshape'])
MENDED = [('loss_func(pred, xb, mu, logvar)', 'loss_func(xb, pred, mu, logvar)')]
