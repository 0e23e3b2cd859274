import torch
import torch.nn as nn
from torch.distributions import StudentT

SOURCE = 'https://github.com/zalandoresearch/pytorch-ts/issues/109'
CATEGORY = 'layer'
DESCRIPTION = 'DeepAR example for another frequency: input_size=43 is kept from the readme, lags, time features and static features of this one make 19.'


def lags_for(freq):
    return {'H': list(range(1, 8)) + list(range(23, 26)) + list(range(47, 50)) + list(range(71, 74)) + list(range(95, 98)) +
                 list(range(119, 122)) + list(range(143, 146)) + list(range(167, 170)) + list(range(335, 338)) + list(range(503, 506)),
            '5min': [1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 14, 15]}[freq]


def time_features(freq, length, start):
    t = torch.arange(start, start + length).float()
    period = {'H': (24, 168, 720, 8760), '5min': (12, 288, 2016, 8640)}[freq]
    feats = [((t % p) / p - 0.5) for p in period]
    feats.append(torch.log10(2.0 + t))
    return torch.stack(feats, dim=-1)


class MeanScaler(nn.Module):
    def forward(self, data):
        scale = data.abs().mean(dim=1, keepdim=True).clamp(min=1e-5)
        return data / scale, scale


class DeepARNetwork(nn.Module):
    def __init__(self, input_size, num_layers, num_cells, context_length, prediction_length, lags_seq, cardinality, embedding_dimension):
        super().__init__()
        self.context_length, self.prediction_length = context_length, prediction_length
        self.history_length = context_length + max(lags_seq)
        self.lags_seq = lags_seq
        self.scaler = MeanScaler()
        self.embedder = nn.ModuleList([nn.Embedding(c, d) for c, d in zip(cardinality, embedding_dimension)])
        self.rnn = nn.LSTM(input_size=input_size, hidden_size=num_cells, num_layers=num_layers, batch_first=True)
        self.proj_args = nn.ModuleList([nn.Linear(num_cells, 1) for _ in range(3)])

    @staticmethod
    def get_lagged_subsequences(sequence, sequence_length, indices, subsequences_length):
        lagged_values = []
        for lag_index in indices:
            begin_index = -lag_index - subsequences_length
            end_index = -lag_index if lag_index > 0 else None
            lagged_values.append(sequence[:, begin_index:end_index].unsqueeze(1))
        return torch.cat(lagged_values, dim=1).permute(0, 2, 1)

    def unroll_encoder(self, feat_static_cat, past_time_feat, past_target, future_time_feat, future_target):
        time_feat = torch.cat((past_time_feat[:, -self.context_length:], future_time_feat), dim=1)
        sequence = torch.cat((past_target, future_target), dim=1)
        subsequences_length = self.context_length + self.prediction_length
        lags = self.get_lagged_subsequences(sequence, sequence.shape[1], self.lags_seq, subsequences_length)
        _, scale = self.scaler(past_target[:, -self.context_length:])
        embedded_cat = torch.cat([emb(feat_static_cat[:, i]) for i, emb in enumerate(self.embedder)], dim=-1)
        static_feat = torch.cat((embedded_cat, scale.log()), dim=1)
        repeated_static_feat = static_feat.unsqueeze(1).expand(-1, subsequences_length, -1)
        lags_scaled = lags / scale.unsqueeze(-1)
        inputs = torch.cat((lags_scaled, time_feat, repeated_static_feat), dim=-1)
        outputs, state = self.rnn(inputs)
        return outputs, state, scale

    def distribution(self, *batch):
        rnn_outputs, _, scale = self.unroll_encoder(*batch)
        df, loc, sigma = [proj(rnn_outputs).squeeze(-1) for proj in self.proj_args]
        return StudentT(2.0 + nn.functional.softplus(df), loc * scale, nn.functional.softplus(sigma) * scale + 1e-4)

    def forward(self, feat_static_cat, past_time_feat, past_target, future_time_feat, future_target):
        distr = self.distribution(feat_static_cat, past_time_feat, past_target, future_time_feat, future_target)
        target = torch.cat((past_target[:, -self.context_length:], future_target), dim=1)
        return -distr.log_prob(target).mean()


class DeepAREstimator:
    def __init__(self, freq, prediction_length, input_size, context_length=None, num_layers=2, num_cells=40, cardinality=(1,), embedding_dimension=(1,)):
        self.freq, self.prediction_length, self.input_size = freq, prediction_length, input_size
        self.context_length = context_length or prediction_length
        self.num_layers, self.num_cells = num_layers, num_cells
        self.cardinality, self.embedding_dimension = cardinality, embedding_dimension

    def create_training_network(self):
        return DeepARNetwork(self.input_size, self.num_layers, self.num_cells, self.context_length, self.prediction_length,
                             lags_for(self.freq), self.cardinality, self.embedding_dimension)


estimator = DeepAREstimator(freq='5min', prediction_length=12, input_size=43)


def build():
    torch.manual_seed(0)
    return estimator.create_training_network()


def step(model):
    B, history, future = 12, model.history_length, estimator.prediction_length
    series = torch.rand(B, history + future).cumsum(1)
    feats = time_features(estimator.freq, history + future, 100).expand(B, -1, -1)
    cat = torch.zeros(B, 1, dtype=torch.long)
    return model(cat, feats[:, :history], series[:, :history], feats[:, history:], series[:, history:])


# real fix: input_size=19
# offending tensor: inputs (12, 24, 19)
TRUTH = dict(raises='RuntimeError', at='module:rnn', culprits=['rnn'], dim=2, got=19, wanted=43,
             hint_any=['input_size', '19'])
MENDED = [('input_size=43)', 'input_size=19)')]
