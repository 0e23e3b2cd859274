import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/graykode/nlp-tutorial/issues/68 (the same in issue 38)'
CATEGORY = 'silent'
DESCRIPTION = 'Bi-LSTM attention: h_n (directions, batch, hidden) is viewed as (batch, hidden * directions, 1), which puts states of different sentences together.'

embedding_dim = 12
n_hidden = 10
num_classes = 2


class BiLSTM_Attention(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_dim)
        self.lstm = nn.LSTM(embedding_dim, n_hidden, bidirectional=True)
        self.out = nn.Linear(n_hidden * 2, num_classes)

    def attention_net(self, lstm_output, final_state):
        batch_size = len(lstm_output)
        hidden = final_state.view(batch_size, -1, 1)
        attn_weights = torch.bmm(lstm_output, hidden).squeeze(2)
        soft_attn_weights = F.softmax(attn_weights, 1)
        context = torch.bmm(lstm_output.transpose(1, 2), soft_attn_weights.unsqueeze(2)).squeeze(2)
        return context, soft_attn_weights

    def forward(self, X):
        input = self.embedding(X)
        input = input.permute(1, 0, 2)
        hidden_state = torch.zeros(1 * 2, len(X), n_hidden)
        cell_state = torch.zeros(1 * 2, len(X), n_hidden)
        output, (final_hidden_state, final_cell_state) = self.lstm(input, (hidden_state, cell_state))
        output = output.permute(1, 0, 2)
        attn_output, attention = self.attention_net(output, final_hidden_state)
        return self.out(attn_output), attention


def make_batch():
    sentences = ['i love you', 'he loves me', 'she likes baseball', 'i hate you', 'sorry for that', 'this is awful']
    labels = [1, 1, 1, 0, 0, 0]
    words = sorted(set(' '.join(sentences).split()))
    word_dict = {w: i for i, w in enumerate(words)}
    inputs = torch.LongTensor([[word_dict[n] for n in sen.split()] for sen in sentences])
    return inputs, torch.LongTensor(labels), len(word_dict)


def build():
    return BiLSTM_Attention(make_batch()[2])


def step(model):
    inputs, targets, _ = make_batch()
    criterion = nn.CrossEntropyLoss()
    output, attention = model(inputs)
    return criterion(output, targets)


# real fix: final_state.transpose(0, 1).reshape(batch_size, -1, 1)
TRUTH = dict(raises=None, at='function:view', culprits=['function:view'], dim=None, got=None, wanted=None,
             hint_any=['transpose', 'permute', 'cat', 'mix', 'direction', 'batch'])
MENDED = [('hidden = final_state.view(batch_size, -1, 1)', 'hidden = final_state.transpose(0, 1).reshape(batch_size, -1, 1)')]
