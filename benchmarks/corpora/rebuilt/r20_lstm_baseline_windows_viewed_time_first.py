import torch
import torch.nn as nn

SOURCE = 'https://github.com/jessicayung/blog-code-snippets/issues/6'
CATEGORY = 'silent'
DESCRIPTION = 'Windows (series, time) are viewed as (time, series, 1) instead of transposed; both sizes are 20, so time and series change places.'


class ARData:
    """AR(n) series; X holds windows of length num_prev, y the value after each."""

    def __init__(self, num_datapoints, num_prev, stride=5, coeffs=(0.6, -0.5, 0.3), noise_var=0.1):
        self.num_datapoints, self.num_prev, self.stride = num_datapoints, num_prev, stride
        self.coeffs, self.noise_var = coeffs, noise_var
        self.X, self.y = self.generate()

    def generate(self):
        series = list(torch.randn(len(self.coeffs)))
        while len(series) < self.num_datapoints * self.stride + self.num_prev:
            past = sum(c * series[-i - 1] for i, c in enumerate(self.coeffs))
            series.append(past + self.noise_var * torch.randn(()))
        series = torch.stack(series)
        starts = range(0, self.num_datapoints * self.stride, self.stride)
        X = torch.stack([series[i:i + self.num_prev] for i in starts])
        y = torch.stack([series[i + self.num_prev] for i in starts])
        return X, y


class LSTM(nn.Module):
    def __init__(self, input_dim, hidden_dim, batch_size, output_dim=1, num_layers=2):
        super().__init__()
        self.input_dim = input_dim
        self.hidden_dim = hidden_dim
        self.batch_size = batch_size
        self.num_layers = num_layers
        self.lstm = nn.LSTM(self.input_dim, self.hidden_dim, self.num_layers)
        self.linear = nn.Linear(self.hidden_dim, output_dim)

    def init_hidden(self):
        return (torch.zeros(self.num_layers, self.batch_size, self.hidden_dim),
                torch.zeros(self.num_layers, self.batch_size, self.hidden_dim))

    def forward(self, input):
        lstm_out, self.hidden = self.lstm(input.view(len(input), self.batch_size, -1), self.hidden)
        y_pred = self.linear(lstm_out[-1].view(self.batch_size, -1))
        return y_pred.view(-1)


class Settings:
    input_size = 20
    per_element = True
    lstm_input_size = 1 if per_element else input_size
    h1 = 32
    num_train = 20
    num_layers = 2


def build():
    s = Settings
    return LSTM(s.lstm_input_size, s.h1, batch_size=s.num_train, output_dim=1, num_layers=s.num_layers)


def step(model):
    s = Settings
    data = ARData(s.num_train, num_prev=s.input_size)
    X_train, y_train = data.X, data.y
    X_train = X_train.view([s.input_size, -1, 1])
    y_train = y_train.view(-1)

    loss_fn = nn.MSELoss(reduction='sum')
    model.zero_grad()
    model.hidden = model.init_hidden()
    y_pred = model(X_train)
    return loss_fn(y_pred, y_train)


# real fix: X_train.t().view(input_size, -1, 1)
TRUTH = dict(raises=None, at='function:view', culprits=['function:view', 'input'], dim=None, got=None, wanted=None,
             hint_any=['transpose', '.t()', 'permute', 'batch_first', 'mix', 'order'])
MENDED = [('X_train.view([s.input_size, -1, 1])', 'X_train.t().contiguous().view([s.input_size, -1, 1])')]
