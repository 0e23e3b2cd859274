import torch
import torch.nn as nn

SOURCE = 'https://github.com/cpuheater/pytorch_examples/issues/2'
CATEGORY = 'loss'
DESCRIPTION = 'Passenger forecast: num_layers is raised to 2, h_out.view(-1, hidden_size) puts the states of both layers among the samples.'

input_size, hidden_size, num_classes, num_layers, seq_length = 1, 5, 1, 2, 4


def sliding_windows(data, seq_length):
    x, y = [], []
    for i in range(len(data) - seq_length - 1):
        x.append(data[i:i + seq_length])
        y.append(data[i + seq_length])
    return torch.stack(x), torch.stack(y)


class MinMax:
    def fit_transform(self, x):
        self.lo, self.hi = x.min(), x.max()
        return (x - self.lo) / (self.hi - self.lo)


class LSTM(nn.Module):
    def __init__(self, num_classes, input_size, hidden_size, num_layers):
        super().__init__()
        self.num_classes, self.num_layers = num_classes, num_layers
        self.input_size, self.hidden_size = input_size, hidden_size
        self.lstm = nn.LSTM(input_size=input_size, hidden_size=hidden_size, num_layers=num_layers, batch_first=True)
        self.fc = nn.Linear(hidden_size, num_classes)

    def forward(self, x):
        h_0 = torch.zeros(self.num_layers, x.size(0), self.hidden_size)
        c_0 = torch.zeros(self.num_layers, x.size(0), self.hidden_size)
        _, (h_out, _) = self.lstm(x, (h_0, c_0))
        h_out = h_out.view(-1, self.hidden_size)
        out = self.fc(h_out)
        return out


def build():
    return LSTM(num_classes, input_size, hidden_size, num_layers)


def step(model):
    t = torch.arange(144.).unsqueeze(1)
    series = 100 + 2 * t + 20 * torch.sin(t / 12 * 6.283) + torch.randn(144, 1)
    data = MinMax().fit_transform(series)
    x, y = sliding_windows(data, seq_length)
    train_size = int(len(y) * 0.67)
    trainX, trainY = x[:train_size], y[:train_size]
    criterion = nn.MSELoss()
    outputs = model(trainX)
    return criterion(outputs, trainY)


# real fix: the state of the last layer, h_out[-1]
# offending tensor: outputs (186, 1), (93, 1) expected
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['function:view', 'lstm'], dim=0, got=186, wanted=93,
             hint_any=['[-1]', 'layer', 'view', 'num_layers'])
MENDED = [('h_out.view(-1, self.hidden_size)', 'h_out[-1]')]
