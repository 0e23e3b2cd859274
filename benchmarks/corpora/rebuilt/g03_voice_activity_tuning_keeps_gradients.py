import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/snakers4/silero-vad/pull/699'
CATEGORY = 'silent'
DESCRIPTION = 'Tuning of a voice activity detector: the loop has backward and step, but optimizer.zero_grad() is missing, so every batch adds to the gradients of all earlier ones.'


class SileroVadDataset(Dataset):
    def __init__(self, count=16, num_samples=128, chunks=6):
        self.speech = torch.randn(count, num_samples * chunks)
        self.targets = (torch.rand(count, chunks) > 0.5).float()

    def __len__(self):
        return len(self.speech)

    def __getitem__(self, index):
        gt = self.targets[index]
        return self.speech[index], gt, torch.where(gt > 0, 1.0, 0.6)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv1d(1, 16, 8, stride=4, padding=2)
        self.conv2 = nn.Conv1d(16, 32, 8, stride=4, padding=2)

    def forward(self, x):
        return torch.relu(self.conv2(torch.relu(self.conv1(x.unsqueeze(1)))))


class VADDecoderRNNJIT(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTMCell(32, 32)
        self.decoder = nn.Sequential(nn.Dropout(0.1), nn.ReLU(), nn.Conv1d(32, 1, kernel_size=1), nn.Sigmoid())

    def forward(self, x, state=torch.zeros(0)):
        x = x.mean(-1)
        h, c = self.rnn(x, (state[0], state[1])) if len(state) else self.rnn(x)
        return self.decoder(h.unsqueeze(-1).float()), torch.stack([h, c])


class VAD(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.decoder = VADDecoderRNNJIT()

    def forward(self, x, state):
        with torch.no_grad():
            features = self.encoder(x)
        return self.decoder(features, state)


def train(loader, model, criterion, optimizer, context_size=32, num_samples=128):
    model.train()
    total = 0.0
    for x, targets, masks in loader:
        x = nn.functional.pad(x, (context_size, 0))
        outs, state = [], torch.zeros(0)
        for i in range(context_size, x.shape[1], num_samples):
            input_ = x[:, i - context_size:i + num_samples]
            out, state = model(input_, state)
            outs.append(out)
        stacked = torch.cat(outs, dim=2).squeeze(1)
        loss = (criterion(stacked, targets) * masks).mean()
        loss.backward()
        optimizer.step()
        total += loss.item()
    return torch.tensor(total / len(loader))


def build():
    model = VAD()
    for p in model.encoder.parameters():
        p.requires_grad = False
    return model


def step(model):
    loader = DataLoader(SileroVadDataset(), batch_size=4, shuffle=False)
    optimizer = torch.optim.Adam(model.decoder.parameters(), lr=5e-3)
    criterion = nn.BCELoss(reduction='none')
    return train(loader, model, criterion, optimizer)


# real fix: optimizer.zero_grad() before loss.backward()
TRUTH = dict(raises=None, at='function:backward', culprits=['function:zero_grad', 'function:backward', 'function:step', ''],
             dim=None, got=None, wanted=None, hint_any=['zero_grad', 'accumulat', 'add up', 'added'])
MENDED = [('        loss.backward()', '        optimizer.zero_grad()\n        loss.backward()')]
