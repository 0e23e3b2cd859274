import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

SOURCE = 'https://github.com/RUCAIBox/RecBole/issues/1483'
CATEGORY = 'silent'
DESCRIPTION = 'DIEN: the auxiliary loss is averaged over the padded positions of the click histories too; keys_length is passed and not used.'


class MLPLayers(nn.Module):
    def __init__(self, sizes, activation):
        super().__init__()
        layers = []
        for a, b in zip(sizes, sizes[1:]):
            layers += [nn.Linear(a, b), activation()]
        self.mlp_layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.mlp_layers(x)


class InterestExtractorNetwork(nn.Module):
    def __init__(self, input_size, hidden_size, mlp_size):
        super().__init__()
        self.gru = nn.GRU(input_size, hidden_size, batch_first=True)
        self.auxiliary_net = MLPLayers(mlp_size, nn.Sigmoid)

    def forward(self, keys, keys_length, neg_keys):
        hist_len = keys.shape[1]
        packed = pack_padded_sequence(keys, keys_length.cpu(), batch_first=True, enforce_sorted=False)
        rnn_outputs, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=hist_len)
        aux_loss = self.auxiliary_loss(rnn_outputs[:, :-1, :], keys[:, 1:, :], neg_keys[:, 1:, :], keys_length - 1)
        return rnn_outputs, aux_loss

    def auxiliary_loss(self, h_states, click_seq, noclick_seq, keys_length):
        batch_size, hist_length, _ = h_states.shape
        click_input = torch.cat([h_states, click_seq], dim=-1)
        noclick_input = torch.cat([h_states, noclick_seq], dim=-1)
        click_prop = self.auxiliary_net(click_input.view(batch_size * hist_length, -1)).view(-1, 1)
        click_target = torch.ones(click_prop.shape)
        noclick_prop = self.auxiliary_net(noclick_input.view(batch_size * hist_length, -1)).view(-1, 1)
        noclick_target = torch.zeros(noclick_prop.shape)
        loss = F.binary_cross_entropy(
            torch.cat([click_prop, noclick_prop], dim=0), torch.cat([click_target, noclick_target], dim=0))
        return loss


class InterestEvolvingLayer(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.attention = nn.Sequential(nn.Linear(4 * size, 16), nn.Sigmoid(), nn.Linear(16, 1))
        self.dynamic_rnn = nn.GRU(size, size, batch_first=True)

    def forward(self, queries, keys, keys_length):
        hist_len = keys.shape[1]
        q = queries.unsqueeze(1).expand_as(keys)
        score = self.attention(torch.cat([q, keys, q - keys, q * keys], dim=-1))
        valid = (torch.arange(hist_len)[None, :] < keys_length[:, None]).unsqueeze(-1)
        score = torch.softmax(score.masked_fill(~valid, -1e9), dim=1)
        packed = pack_padded_sequence(keys * score, keys_length.cpu(), batch_first=True, enforce_sorted=False)
        return self.dynamic_rnn(packed)[1].squeeze(0)


class DIEN(nn.Module):
    def __init__(self, n_users=20, n_items=50, size=12, alpha=1.0):
        super().__init__()
        self.alpha = alpha
        self.user_embedding = nn.Embedding(n_users, size)
        self.item_embedding = nn.Embedding(n_items, size, padding_idx=0)
        self.interset_extractor = InterestExtractorNetwork(size, size, [2 * size, 16, 1])
        self.interest_evolution = InterestEvolvingLayer(size)
        self.dnn_mlp_layers = MLPLayers([3 * size, 32], nn.PReLU)
        self.dnn_predict_layer = nn.Linear(32, 1)
        self.loss = nn.BCEWithLogitsLoss()

    def forward(self, user, item_seq, neg_item_seq, item_seq_len, next_items):
        keys, neg_keys = self.item_embedding(item_seq), self.item_embedding(neg_item_seq)
        target = self.item_embedding(next_items)
        interest, aux_loss = self.interset_extractor(keys, item_seq_len, neg_keys)
        evolution = self.interest_evolution(target, interest, item_seq_len)
        dien_in = torch.cat([evolution, target, self.user_embedding(user)], dim=-1)
        return self.dnn_predict_layer(self.dnn_mlp_layers(dien_in)).squeeze(1), aux_loss


def sample(batch_size=8, hist_len=10):
    length = torch.tensor([10, 3, 2, 7, 4, 2, 5, 3])
    valid = torch.arange(hist_len)[None, :] < length[:, None]
    item_seq = torch.randint(1, 50, (batch_size, hist_len)) * valid
    neg_item_seq = torch.randint(1, 50, (batch_size, hist_len)) * valid
    return (torch.randint(0, 20, (batch_size,)), item_seq, neg_item_seq, length, torch.randint(1, 50, (batch_size,)))


def build():
    return DIEN()


def step(model):
    label = torch.randint(0, 2, (8,)).float()
    output, aux_loss = model(*sample())
    return model.loss(output, label) + model.alpha * aux_loss


# real fix: positions past keys_length are left out of the auxiliary loss
TRUTH = dict(raises=None, at='loss:binary_cross_entropy', culprits=['function:binary_cross_entropy', 'target'], dim=None, got=None, wanted=None,
             hint_any=['mask', 'padding', 'padded', 'length', 'weight'])
MENDED = [('        loss = F.binary_cross_entropy(\n',
           '        valid = (torch.arange(hist_length)[None, :] < keys_length[:, None]).view(-1, 1).repeat(2, 1)\n        loss = F.binary_cross_entropy(\n'),
          ('noclick_prop], dim=0), torch.cat([click_target, noclick_target], dim=0))',
           'noclick_prop], dim=0)[valid], torch.cat([click_target, noclick_target], dim=0)[valid])')]
