import torch
import torch.nn as nn

SOURCE = 'https://github.com/PacktPublishing/Modern-Time-Series-Forecasting-with-Python/issues/17'
CATEGORY = 'layer'
DESCRIPTION = 'Smart meters: the consumption of the next half hour is read from the last two days by a recurrent network with a linear head.'


class SingleStepRNNConfig:
    def __init__(self, rnn_type, input_size, hidden_size, num_layers, bidirectional):
        self.rnn_type = rnn_type.upper()
        assert self.rnn_type in ['LSTM', 'GRU', 'RNN'], f'{self.rnn_type} is not a valid RNN type'
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional


class BaseModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.hparams = config
        self._build_network()
        self.loss = nn.MSELoss()

    def training_step(self, batch):
        y_hat, y = self.forward(batch)
        return self.loss(y_hat, y)


class SingleStepRNNModel(BaseModel):
    def _build_network(self):
        rnn = {'RNN': nn.RNN, 'LSTM': nn.LSTM, 'GRU': nn.GRU}[self.hparams.rnn_type]
        self.rnn = rnn(
            input_size=self.hparams.input_size,
            hidden_size=self.hparams.hidden_size,
            num_layers=self.hparams.num_layers,
            batch_first=True,
            bidirectional=self.hparams.bidirectional,
        )
        self.fc = nn.Linear(self.hparams.hidden_size, 1)

    def forward(self, batch):
        x, y = batch
        assert y.size(1) == 1, 'y should have only a single timestep'
        # x --> (batch_size, seq_len, input_size), y --> (batch_size, 1, 1)
        target = torch.cat([x[:, 1:, :], y], dim=1)
        x, _ = self.rnn(x)
        x = self.fc(x)
        return x, target


def build():
    torch.manual_seed(0)
    rnn_config = SingleStepRNNConfig(
        rnn_type='LSTM',
        input_size=1,
        hidden_size=32,
        num_layers=1,
        bidirectional=True,
    )
    return SingleStepRNNModel(rnn_config)


def step(model):
    g = torch.Generator().manual_seed(1)
    window = torch.randn(32, 48 + 1, 1, generator=g)
    return model.training_step((window[:, :48], window[:, 48:]))


# the head ignores that a bidirectional network puts out twice hidden_size (1536x256 and 128x1 in the report, where hidden_size is 128)
TRUTH = dict(raises='RuntimeError', at='fc', culprits=['fc', 'rnn'], dim=2, got=64, wanted=32, hint_any=['bidirectional', '64', 'hidden_size'])
MENDED = [('self.fc = nn.Linear(self.hparams.hidden_size, 1)',
           'self.fc = nn.Linear(self.hparams.hidden_size * (2 if self.hparams.bidirectional else 1), 1)')]
