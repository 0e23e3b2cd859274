import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/DEEP-PolyU/KEQA_WSDM19/issues/2'
CATEGORY = 'silent'
DESCRIPTION = 'Knowledge embedding for question answering: the attention scores are (words * batch, 1) and the softmax runs over the last dimension, so every weight is 1.'


class EmbedVector(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        hidden = config['hidden_size']
        self.embed = nn.Embedding(config['words_num'], config['words_dim'])
        self.lstm = nn.LSTM(config['words_dim'], hidden, config['num_layer'], bidirectional=True)
        self.dropout = nn.Dropout(p=config['rnn_fc_dropout'])
        self.nonlinear = nn.Tanh()
        self.attn = nn.Sequential(
            nn.Linear(hidden * 2 + config['words_dim'], hidden),
            self.nonlinear,
            nn.Linear(hidden, 1)
        )
        self.hidden2tag = nn.Sequential(
            nn.Linear(hidden * 2 + config['words_dim'], hidden * 2),
            nn.BatchNorm1d(hidden * 2),
            self.nonlinear,
            self.dropout,
            nn.Linear(hidden * 2, config['label'])
        )

    def forward(self, text):
        x = self.embed(text)
        num_word, batch_size, words_dim = x.size()
        state = x.new_zeros(2 * self.config['num_layer'], batch_size, self.config['hidden_size'])
        outputs, _ = self.lstm(x, (state, state))
        outputs = outputs.view(-1, outputs.size(2))
        x = x.view(-1, words_dim)
        attn_weights = F.softmax(self.attn(torch.cat((x, outputs), 1)), dim=1)
        attn_applied = torch.bmm(torch.diag(attn_weights[:, 0]).unsqueeze(0), outputs.unsqueeze(0))
        outputs = torch.cat((x, attn_applied.squeeze(0)), 1)
        tags = self.hidden2tag(outputs).view(num_word, batch_size, -1)
        scores = F.normalize(torch.mean(tags, dim=0), dim=1)
        return scores


def build():
    return EmbedVector(dict(words_num=90, words_dim=20, hidden_size=16, num_layer=2, rnn_fc_dropout=0.0, label=12))


def step(model):
    model.train()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-4, weight_decay=1e-5)
    criterion = nn.MSELoss()
    text = torch.randint(0, 90, (10, 10))
    entity = F.normalize(torch.randn(10, 12), dim=1)
    optimizer.zero_grad()
    loss = criterion(model(text), entity)
    loss.backward()
    optimizer.step()
    return loss.detach()


# 10 words, 10 questions; the author changed it to dim=0 of the flattened scores, meant is a softmax over the words
TRUTH = dict(raises=None, at='function:softmax', culprits=['function:softmax'], dim=1, got=1, wanted=None,
             hint_any=['size 1', 'one', '1.0', 'ones', 'dim'])
MENDED = [('F.softmax(self.attn(torch.cat((x, outputs), 1)), dim=1)',
           'F.softmax(self.attn(torch.cat((x, outputs), 1)).view(num_word, batch_size), dim=0).view(-1, 1)')]
