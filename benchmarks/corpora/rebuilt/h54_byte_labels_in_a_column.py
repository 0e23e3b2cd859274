import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://openillumi.com/en/en-pytorch-0d-1d-target-tensor-error-fix (retells the question "0D or 1D target tensor expected, multi-target not supported")'
CATEGORY = 'loss'
DESCRIPTION = 'Activity recognition from sensors: the labels are turned into bytes in a column before CrossEntropyLoss.'


class SensorNet(nn.Module):
    def __init__(self, channels=6, hidden=32, num_classes=5):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv1d(channels, 16, 5, padding=2), nn.BatchNorm1d(16), nn.ReLU(), nn.MaxPool1d(2))
        self.lstm = nn.LSTM(16, hidden, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.3)
        self.fc = nn.Linear(2 * hidden, num_classes)

    def forward(self, x):
        x = self.conv(x.transpose(1, 2)).transpose(1, 2)
        out, (h, c) = self.lstm(x)
        last = torch.cat([h[-2], h[-1]], dim=1)
        return self.fc(self.dropout(last))


def prepare(batch, device='cpu'):
    inputs, labels = batch
    inputs = inputs.float().to(device)
    labels = labels.byte().unsqueeze(1).to(device)
    return inputs, labels


def train_epoch(model, loader, criterion, optimizer):
    model.train()
    total, correct, seen = 0.0, 0, 0
    for batch in loader:
        inputs, labels = prepare(batch)
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        total += loss.item() * inputs.size(0)
        correct += (outputs.argmax(1) == labels.flatten()).sum().item()
        seen += inputs.size(0)
    return torch.tensor(total / seen), correct / seen


def build():
    return SensorNet()


def step(model):
    windows = torch.randn(64, 50, 6, dtype=torch.float64)
    activities = torch.randint(0, 5, (64,))
    loader = DataLoader(TensorDataset(windows, activities), batch_size=32, shuffle=True)
    loss, accuracy = train_epoch(model, loader, nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), lr=1e-3))
    return loss


TRUTH = dict(raises='RuntimeError', at='loss:cross_entropy', culprits=['function:unsqueeze', 'target'], dim=1, got=1, wanted=None,
             hint_any=['squeeze', '(32,)', '1d', '1-d', 'flatten'])
MENDED = [('labels.byte().unsqueeze(1)', 'labels.long()')]
