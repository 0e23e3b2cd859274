import torch
import torch.nn as nn
from torch.nn import functional as F
from torch.nn.functional import softmax

SOURCE = 'https://github.com/Lightning-Universe/lightning-bolts/issues/654'
CATEGORY = 'silent'
DESCRIPTION = 'LogisticRegression.forward ends in a softmax and training_step gives its output to cross_entropy.'


class LogisticRegression(nn.Module):
    def __init__(self, input_dim, num_classes, bias=True, learning_rate=1e-2, l1_strength=0.0, l2_strength=0.0):
        super().__init__()
        self.hparams = dict(input_dim=input_dim, num_classes=num_classes, learning_rate=learning_rate,
                            l1_strength=l1_strength, l2_strength=l2_strength)
        self.linear = nn.Linear(in_features=input_dim, out_features=num_classes, bias=bias)

    def forward(self, x):
        x = self.linear(x)
        y_hat = softmax(x, dim=-1)
        return y_hat

    def training_step(self, batch, batch_idx):
        x, y = batch
        # flatten any input
        x = x.view(x.size(0), -1)
        y_hat = self(x)
        loss = F.cross_entropy(y_hat, y, reduction='sum')
        if self.hparams['l1_strength'] > 0:
            loss += self.hparams['l1_strength'] * self.linear.weight.abs().sum()
        if self.hparams['l2_strength'] > 0:
            loss += self.hparams['l2_strength'] * self.linear.weight.pow(2).sum()
        loss /= float(x.size(0))
        return {'loss': loss, 'progress_bar': {'train_ce_loss': loss.detach()}}

    def validation_step(self, batch, batch_idx):
        x, y = batch
        x = x.view(x.size(0), -1)
        acc = (self.linear(x).argmax(-1) == y).float().mean()
        return {'acc': acc}

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams['learning_rate'])


class Trainer:
    def __init__(self, max_epochs):
        self.max_epochs = max_epochs

    def fit(self, model, train_loader, val_loader):
        optimizer = model.configure_optimizers()
        for _ in range(self.max_epochs):
            model.train()
            for i, batch in enumerate(train_loader):
                loss = model.training_step(batch, i)['loss']
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                [model.validation_step(batch, i) for i, batch in enumerate(val_loader)]
        return loss.detach()


def build():
    return LogisticRegression(input_dim=6 * 6, num_classes=10, l1_strength=1e-3)


def step(model):
    images, digits = torch.rand(20, 1, 6, 6), torch.randint(0, 10, (20,))
    train = list(zip(images.split(10), digits.split(10)))
    return Trainer(max_epochs=1).fit(model, train, train[:1])


# real fix: forward returns the linear layer's logits
TRUTH = dict(raises=None, at='loss:cross_entropy', culprits=['function:softmax'], dim=None, got=None, wanted=None,
             hint_any=['softmax', 'logits', 'twice'])
MENDED = [('y_hat = softmax(x, dim=-1)', 'y_hat = x')]
