import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/foamliu/Chatbot/issues/4'
CATEGORY = 'silent'
DESCRIPTION = 'Chatbot: the gathered log probabilities stay a column (batch, 1), masked_select broadcasts them with the mask (batch,) to a square, so padded words count too.'

PAD_token, SOS_token, EOS_token = 0, 1, 2


class EncoderRNN(nn.Module):
    def __init__(self, hidden_size, embedding):
        super().__init__()
        self.hidden_size = hidden_size
        self.embedding = embedding
        self.gru = nn.GRU(hidden_size, hidden_size, bidirectional=True)

    def forward(self, input_seq, input_lengths):
        embedded = self.embedding(input_seq)
        packed = nn.utils.rnn.pack_padded_sequence(embedded, input_lengths)
        outputs, hidden = self.gru(packed)
        outputs, _ = nn.utils.rnn.pad_packed_sequence(outputs)
        outputs = outputs[:, :, :self.hidden_size] + outputs[:, :, self.hidden_size:]
        return outputs, hidden


class Attn(nn.Module):
    def forward(self, hidden, encoder_outputs):
        attn_energies = torch.sum(hidden * encoder_outputs, dim=2).t()
        return F.softmax(attn_energies, dim=1).unsqueeze(1)


class LuongAttnDecoderRNN(nn.Module):
    def __init__(self, embedding, hidden_size, output_size):
        super().__init__()
        self.embedding = embedding
        self.embedding_dropout = nn.Dropout(0.1)
        self.gru = nn.GRU(hidden_size, hidden_size)
        self.concat = nn.Linear(hidden_size * 2, hidden_size)
        self.out = nn.Linear(hidden_size, output_size)
        self.attn = Attn()

    def forward(self, input_step, last_hidden, encoder_outputs):
        embedded = self.embedding_dropout(self.embedding(input_step))
        rnn_output, hidden = self.gru(embedded, last_hidden)
        attn_weights = self.attn(rnn_output, encoder_outputs)
        context = attn_weights.bmm(encoder_outputs.transpose(0, 1))
        rnn_output, context = rnn_output.squeeze(0), context.squeeze(1)
        concat_output = torch.tanh(self.concat(torch.cat((rnn_output, context), 1)))
        return F.softmax(self.out(concat_output), dim=1), hidden


class Seq2Seq(nn.Module):
    def __init__(self, voc=40, hidden_size=16):
        super().__init__()
        self.embedding = nn.Embedding(voc, hidden_size)
        self.encoder = EncoderRNN(hidden_size, self.embedding)
        self.decoder = LuongAttnDecoderRNN(self.embedding, hidden_size, voc)


def maskNLLLoss(inp, target, mask):
    nTotal = mask.sum()
    crossEntropy = -torch.log(torch.gather(inp, 1, target.view(-1, 1)))
    loss = crossEntropy.masked_select(mask).mean()
    return loss, nTotal.item()


def batch2TrainData(batch_size=8):
    lengths = torch.tensor([9, 9, 8, 7, 6, 5, 5, 3])
    input_variable = torch.zeros(9, batch_size, dtype=torch.long)
    target_variable = torch.zeros(8, batch_size, dtype=torch.long)
    for i, n in enumerate(lengths.tolist()):
        input_variable[:n, i] = torch.randint(3, 40, (n,))
        m = int(torch.randint(2, 8, (1,)))
        target_variable[:m, i] = torch.randint(3, 40, (m,))
        target_variable[m, i] = EOS_token
    return input_variable, lengths, target_variable, target_variable != PAD_token


def train(model, optimizer):
    input_variable, lengths, target_variable, mask = batch2TrainData()
    optimizer.zero_grad()
    encoder_outputs, encoder_hidden = model.encoder(input_variable, lengths)
    decoder_input = torch.full((1, input_variable.size(1)), SOS_token)
    decoder_hidden = encoder_hidden[:1]
    loss, print_losses, n_totals = 0, [], 0
    for t in range(target_variable.size(0)):
        if not mask[t].any():
            break
        decoder_output, decoder_hidden = model.decoder(decoder_input, decoder_hidden, encoder_outputs)
        decoder_input = target_variable[t].view(1, -1)
        mask_loss, nTotal = maskNLLLoss(decoder_output, target_variable[t], mask[t])
        loss = loss + mask_loss
        print_losses.append(mask_loss.item() * nTotal)
        n_totals += nTotal
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 50.0)
    optimizer.step()
    return sum(print_losses) / n_totals


def build():
    return Seq2Seq()


def step(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(3):
        loss = train(model, optimizer)
    return torch.tensor(loss)


TRUTH = dict(raises=None, at='function:masked_select', culprits=['function:gather', 'function:masked_select', 'function:log'], dim=1, got=1, wanted=None,
             hint_any=['squeeze', 'broadcast', '(8, 8)', '(8, 1)', 'mask'])
MENDED = [('torch.gather(inp, 1, target.view(-1, 1)))', 'torch.gather(inp, 1, target.view(-1, 1)).squeeze(1))')]
