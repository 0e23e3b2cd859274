import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/facebookresearch/clevr-iep/pull/22'
CATEGORY = 'silent'
DESCRIPTION = 'CLEVR program generator (seq2seq): check_accuracy puts the models in eval mode and never back, so training goes on without dropout.'


class Seq2Seq(nn.Module):
    def __init__(self, encoder_vocab_size=40, decoder_vocab_size=25, wordvec_dim=16, hidden_dim=24,
                 rnn_num_layers=2, rnn_dropout=0.5, null_token=0, start_token=1, end_token=2):
        super().__init__()
        self.NULL, self.START, self.END = null_token, start_token, end_token
        self.encoder_embed = nn.Embedding(encoder_vocab_size, wordvec_dim)
        self.encoder_rnn = nn.LSTM(wordvec_dim, hidden_dim, rnn_num_layers, dropout=rnn_dropout, batch_first=True)
        self.decoder_embed = nn.Embedding(decoder_vocab_size, wordvec_dim)
        self.decoder_rnn = nn.LSTM(wordvec_dim + hidden_dim, hidden_dim, rnn_num_layers, dropout=rnn_dropout, batch_first=True)
        self.decoder_linear = nn.Linear(hidden_dim, decoder_vocab_size)

    def before_rnn(self, x):
        lengths = (x != self.NULL).sum(dim=1)
        return x, lengths - 1

    def encoder(self, x):
        x, idx = self.before_rnn(x)
        out, _ = self.encoder_rnn(self.encoder_embed(x))
        idx = idx.view(-1, 1, 1).expand(-1, 1, out.size(2))
        return out.gather(1, idx).squeeze(1)

    def decoder(self, encoded, y, state=None):
        embed = self.decoder_embed(y)
        repeated = encoded.unsqueeze(1).expand(-1, y.size(1), -1)
        out, state = self.decoder_rnn(torch.cat([repeated, embed], dim=2), state)
        return self.decoder_linear(out), state

    def compute_loss(self, output_logprobs, y):
        mask = y[:, 1:] != self.NULL
        return F.cross_entropy(output_logprobs[:, :-1][mask], y[:, 1:][mask])

    def forward(self, x, y):
        output_logprobs, _ = self.decoder(self.encoder(x), y)
        return self.compute_loss(output_logprobs, y)

    def sample(self, x, max_length=8):
        encoded, y, state, tokens = self.encoder(x), torch.full((len(x), 1), self.START), None, []
        for _ in range(max_length):
            logprobs, state = self.decoder(encoded, y, state)
            y = logprobs.argmax(dim=2)
            tokens.append(y)
        return torch.cat(tokens, dim=1)


def set_mode(mode, models):
    assert mode in ['train', 'eval']
    for m in models:
        if m is None:
            continue
        if mode == 'train':
            m.train()
        if mode == 'eval':
            m.eval()


def check_accuracy(program_generator, execution_engine, loader, num_val_samples=8):
    set_mode('eval', [program_generator, execution_engine])
    num_correct, num_samples = 0, 0
    with torch.no_grad():
        for questions, programs in loader:
            for i in range(questions.size(0)):
                program_pred = program_generator.sample(questions[i:i + 1])
                num_correct += int(torch.equal(program_pred[0, :programs.size(1) - 1], programs[i, 1:]))
                num_samples += 1
            if num_samples >= num_val_samples:
                break
    acc = float(num_correct) / num_samples
    return acc


def clevr_loader(batches, batch_size=8):
    for _ in range(batches):
        questions, programs = torch.randint(3, 40, (batch_size, 12)), torch.randint(3, 25, (batch_size, 9))
        questions[::2, 9:] = 0
        programs[:, 0] = 1
        programs[::2, 6] = 2
        programs[::2, 7:] = 0
        yield questions, programs


def train_loop(program_generator, num_iterations=3, record_accuracy_every=2):
    pg_optimizer = torch.optim.Adam(program_generator.parameters(), lr=5e-4)
    set_mode('train', [program_generator])
    for t, (questions, programs) in enumerate(clevr_loader(num_iterations), start=1):
        loss = program_generator(questions, programs)
        if t == num_iterations:
            return loss
        pg_optimizer.zero_grad()
        loss.backward()
        pg_optimizer.step()
        if t % record_accuracy_every == 0:
            check_accuracy(program_generator, None, clevr_loader(1))


def build():
    return Seq2Seq()


def step(model):
    return train_loop(model)


# real fix: set_mode('train', [program_generator, execution_engine]) at the end of check_accuracy
TRUTH = dict(raises=None, at='module:encoder_rnn', culprits=['', 'encoder_rnn', 'decoder_rnn'], dim=None, got=None, wanted=None,
             hint_any=['eval', 'train()', 'train mode', 'training mode', 'dropout'])
MENDED = [("acc = float(num_correct) / num_samples\n", "acc = float(num_correct) / num_samples\n    set_mode('train', [program_generator, execution_engine])\n")]
