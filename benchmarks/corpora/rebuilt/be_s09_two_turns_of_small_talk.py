import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/RaleLee/DialogueGCN/issues/5 (cause decided: 250 is the number of tokens of an utterance, 100 the size of its features)'
CATEGORY = 'layer'
DESCRIPTION = 'Everyday conversations: which of seven emotions each utterance carries, from its words and from who speaks.'


class CNNFeatureExtractor(nn.Module):
    def __init__(self, vocab_size, embedding_dim, output_size, filters, kernel_sizes, dropout):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_dim)
        self.convs = nn.ModuleList(nn.Conv1d(embedding_dim, filters, K) for K in kernel_sizes)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(len(kernel_sizes) * filters, output_size)

    def forward(self, x, umask):
        num_utt, batch, num_words = x.size()
        x = self.embedding(x.long().reshape(-1, num_words)).transpose(-2, -1)
        x = torch.cat([F.max_pool1d(F.relu(conv(x)), x.size(-1) - conv.kernel_size[0] + 1).squeeze(2) for conv in self.convs], 1)
        features = F.relu(self.fc(self.dropout(x))).view(num_utt, batch, -1)
        return features * umask.transpose(0, 1).unsqueeze(-1)


class MaskedEdgeAttention(nn.Module):
    def __init__(self, input_dim, max_seq_len):
        super().__init__()
        self.scalar = nn.Linear(input_dim, max_seq_len, bias=False)

    def forward(self, M):
        return torch.softmax(self.scalar(M)[:, :, :M.size(0)].permute(1, 0, 2), dim=-1)


class DialogueGCNModel(nn.Module):
    def __init__(self, D_m, D_e, graph_hidden_size, n_speakers, max_seq_len, n_classes, dropout=0.5):
        super().__init__()
        self.lstm = nn.LSTM(input_size=D_m, hidden_size=D_e, num_layers=1, bidirectional=True)
        self.att_model = MaskedEdgeAttention(2 * D_e, max_seq_len)
        self.conv = nn.ModuleList(nn.Linear(2 * D_e, graph_hidden_size, bias=False) for _ in range(n_speakers))
        self.root = nn.Linear(2 * D_e, graph_hidden_size)
        self.linear = nn.Linear(2 * D_e + graph_hidden_size, graph_hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.smax_fc = nn.Linear(graph_hidden_size, n_classes)

    def forward(self, U, qmask, umask):
        # U -> utterances x batch x features
        emotions, hidden = self.lstm(U)
        edges = self.att_model(emotions)
        x = emotions.transpose(0, 1)
        speaker = qmask.transpose(0, 1)
        out = self.root(x)
        for s, conv in enumerate(self.conv):
            out = out + edges @ (conv(x) * speaker[:, :, s:s + 1])
        features = torch.cat([x, F.relu(out)], dim=-1)
        hidden = F.relu(self.linear(self.dropout(features)))
        return F.log_softmax(self.smax_fc(hidden), dim=-1).transpose(0, 1)


class DialogueGCN_DailyModel(nn.Module):
    def __init__(self, vocab_size, D_m, **kw):
        super().__init__()
        self.cnn_feat_extractor = CNNFeatureExtractor(vocab_size, 50, D_m, 16, (3, 4, 5), 0.5)
        self.gcn = DialogueGCNModel(D_m=D_m, **kw)

    def forward(self, input_seq, qmask, umask):
        return self.gcn(self.cnn_feat_extractor(input_seq, umask), qmask, umask)


def build():
    torch.manual_seed(0)
    config = dict(D_m=100, D_e=32, graph_hidden_size=32, n_speakers=2, max_seq_len=35, n_classes=7)
    return DialogueGCNModel(**config)


def step(model):
    g = torch.Generator().manual_seed(1)
    n_utt, batch = 9, 4
    textf = torch.randint(1, 800, (n_utt, batch, 250), generator=g).float()
    qmask = F.one_hot(torch.arange(n_utt)[:, None].expand(-1, batch) % 2, 2).float()
    umask = torch.ones(batch, n_utt)
    label = torch.randint(0, 7, (n_utt, batch), generator=g)
    log_prob = model(textf, qmask, umask)
    return F.nll_loss(log_prob.reshape(-1, 7), label.reshape(-1))


TRUTH = dict(raises='RuntimeError', at='lstm', culprits=['input', 'lstm'], dim=2, got=250, wanted=100, hint_any=['100', '250', 'd_m', 'feature', 'token', 'embedding'])
MENDED = [('return DialogueGCNModel(**config)', 'return DialogueGCN_DailyModel(vocab_size=800, **config)')]
