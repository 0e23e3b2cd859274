import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pack_padded_sequence as pack
from torch.nn.utils.rnn import pad_packed_sequence as unpack

SOURCE = 'https://github.com/salesforce/decaNLP/issues/9'
CATEGORY = 'silent'
DESCRIPTION = 'Multitask question answering: PackedLSTM puts the final states back into the order of the batch and returns the hidden state in the place of the cell state as well.'

PAD, INIT = 0, 1


class PackedLSTM(nn.Module):

    def __init__(self, d_in, d_out, num_layers=1, dropout=0.0, batch_first=True):
        super().__init__()
        self.batch_first = batch_first
        self.rnn = nn.LSTM(d_in, d_out, num_layers, dropout=dropout, batch_first=batch_first)

    def forward(self, inputs, lengths, hidden=None):
        lens, indices = torch.sort(torch.as_tensor(lengths), 0, True)
        inputs = inputs[indices] if self.batch_first else inputs[:, indices]
        outputs, (h, c) = self.rnn(pack(inputs, lens.tolist(), batch_first=self.batch_first), hidden)
        outputs = unpack(outputs, batch_first=self.batch_first)[0]
        _, _indices = torch.sort(indices, 0)
        outputs = outputs[_indices] if self.batch_first else outputs[:, _indices]
        h, c = h[:, _indices, :], h[:, _indices, :]
        return outputs, (h, c)


class DualPtrRNNDecoder(nn.Module):

    def __init__(self, d_in, d_hid, num_layers):
        super().__init__()
        self.rnn = nn.LSTM(d_in, d_hid, num_layers, batch_first=True)
        self.attn = nn.Linear(d_hid, d_hid, bias=False)
        self.linear_out = nn.Linear(2 * d_hid, d_hid)

    def forward(self, answers, context, padding, hidden):
        out, hidden = self.rnn(answers, hidden)
        scores = self.attn(out).bmm(context.transpose(1, 2))
        scores = scores.masked_fill(padding.unsqueeze(1), -1e9)
        mix = F.softmax(scores, dim=-1).bmm(context)
        return torch.tanh(self.linear_out(torch.cat([out, mix], dim=-1)))


class MultitaskQuestionAnsweringNetwork(nn.Module):

    def __init__(self, vocab=60, d_embed=12, d_hid=16, num_layers=2):
        super().__init__()
        self.embeddings = nn.Embedding(vocab, d_embed, padding_idx=PAD)
        self.context_encoder = PackedLSTM(d_embed, d_hid, num_layers)
        self.dual_ptr_rnn_decoder = DualPtrRNNDecoder(d_embed, d_hid, num_layers)
        self.out = nn.Linear(d_hid, vocab)

    def forward(self, context, lengths, answer):
        encoded, hidden = self.context_encoder(self.embeddings(context), lengths)
        padding = context == PAD
        decoded = self.dual_ptr_rnn_decoder(self.embeddings(answer[:, :-1]), encoded, padding, hidden)
        logits = self.out(decoded)
        return F.cross_entropy(logits.transpose(1, 2), answer[:, 1:], ignore_index=PAD)


def make_batch(size=6):
    lengths = [9, 14, 5, 14, 7, 11]
    context = torch.zeros(size, max(lengths), dtype=torch.long)
    answer = torch.zeros(size, 6, dtype=torch.long)
    for i, n in enumerate(lengths):
        context[i, :n] = torch.randint(2, 60, (n,))
        answer[i, 0] = INIT
        answer[i, 1:3 + i % 4] = context[i, :2 + i % 4]
    return context, lengths, answer


def build():
    return MultitaskQuestionAnsweringNetwork()


def step(model):
    opt = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.98))
    model.train()
    for _ in range(3):
        context, lengths, answer = make_batch()
        opt.zero_grad()
        loss = model(context, lengths, answer)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
    return loss.detach()


# the second h of the right hand side has to be c
TRUTH = dict(raises=None, at='function:__getitem__', culprits=['function:__getitem__', 'function:getitem', 'context_encoder', 'context_encoder.rnn'],
             dim=None, got=None, wanted=None, hint_any=['cell', 'state', 'unused', 'never used', 'c_n', 'same'])
MENDED = [('h[:, _indices, :], h[:, _indices, :]', 'h[:, _indices, :], c[:, _indices, :]')]
