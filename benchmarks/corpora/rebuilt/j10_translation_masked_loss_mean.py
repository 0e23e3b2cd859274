import torch
import torch.nn as nn

SOURCE = 'https://github.com/d2l-ai/d2l-en/issues/2076 (pull request 2707)'
CATEGORY = 'silent'
DESCRIPTION = 'MaskedSoftmaxCELoss takes the mean over all time steps, padding included; sentences are weighted by how full they are, and the loop divides by the valid tokens once more.'


def sequence_mask(X, valid_len, value=0):
    maxlen = X.size(1)
    mask = torch.arange(maxlen, dtype=torch.float32)[None, :] < valid_len[:, None]
    X[~mask] = value
    return X


class MaskedSoftmaxCELoss(nn.CrossEntropyLoss):
    def forward(self, pred, label, valid_len):
        weights = torch.ones_like(label)
        weights = sequence_mask(weights, valid_len)
        self.reduction = 'none'
        unweighted_loss = super().forward(pred.permute(0, 2, 1), label)
        weighted_loss = (unweighted_loss * weights).mean(dim=1)
        return weighted_loss


class Seq2SeqEncoder(nn.Module):
    def __init__(self, vocab_size, embed_size, num_hiddens, num_layers):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embed_size)
        self.rnn = nn.GRU(embed_size, num_hiddens, num_layers)

    def forward(self, X):
        X = self.embedding(X).permute(1, 0, 2)
        return self.rnn(X)


class Seq2SeqDecoder(nn.Module):
    def __init__(self, vocab_size, embed_size, num_hiddens, num_layers):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embed_size)
        self.rnn = nn.GRU(embed_size + num_hiddens, num_hiddens, num_layers)
        self.dense = nn.Linear(num_hiddens, vocab_size)

    def forward(self, X, state):
        X = self.embedding(X).permute(1, 0, 2)
        context = state[-1].repeat(X.shape[0], 1, 1)
        output, state = self.rnn(torch.cat((X, context), 2), state)
        return self.dense(output).permute(1, 0, 2), state


class EncoderDecoder(nn.Module):
    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, enc_X, dec_X):
        _, state = self.encoder(enc_X)
        return self.decoder(dec_X, state)


def grad_clipping(net, theta):
    params = [p for p in net.parameters() if p.requires_grad]
    norm = torch.sqrt(sum(torch.sum(p.grad ** 2) for p in params))
    if norm > theta:
        for param in params:
            param.grad[:] *= theta / norm


def train_batch(net, batch, optimizer, loss, bos):
    optimizer.zero_grad()
    X, X_valid_len, Y, Y_valid_len = batch
    bos = torch.tensor([bos] * Y.shape[0]).reshape(-1, 1)
    dec_input = torch.cat([bos, Y[:, :-1]], 1)
    Y_hat, _ = net(X, dec_input)
    l = loss(Y_hat, Y, Y_valid_len)
    l.sum().backward()
    grad_clipping(net, 1)
    num_tokens = Y_valid_len.sum()
    optimizer.step()
    return l.sum().detach() / num_tokens


def build():
    return EncoderDecoder(Seq2SeqEncoder(40, 16, 24, 2), Seq2SeqDecoder(45, 16, 24, 2))


def step(model):
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    X_valid_len, Y_valid_len = torch.randint(3, 11, (10,)), torch.randint(3, 11, (10,))
    X = sequence_mask(torch.randint(3, 40, (10, 10)), X_valid_len, 1)
    Y = sequence_mask(torch.randint(3, 45, (10, 10)), Y_valid_len, 1)
    return train_batch(model, (X, X_valid_len, Y, Y_valid_len), optimizer, MaskedSoftmaxCELoss(), bos=2)


# fix: sum over the time steps, the division by the number of tokens comes later
TRUTH = dict(raises=None, at='function:mean', culprits=['function:mean'], dim=1, got=None, wanted=None,
             hint_any=['padding', 'mean', 'sum', 'valid', 'mask'])
MENDED = [('(unweighted_loss * weights).mean(dim=1)', '(unweighted_loss * weights).sum(dim=1)')]
