import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

SOURCE = 'https://github.com/sgrvinod/a-PyTorch-Tutorial-to-Image-Captioning/issues/195'
CATEGORY = 'loss'
DESCRIPTION = 'Captioning: scores (B, T, V) and padded captions (B, 19) reach CrossEntropyLoss without being packed to words first.'


class Encoder(nn.Module):
    def __init__(self, encoded_image_size=4, encoder_dim=32):
        super().__init__()
        self.resnet = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, encoder_dim, 3, 2, 1), nn.ReLU())
        self.adaptive_pool = nn.AdaptiveAvgPool2d((encoded_image_size, encoded_image_size))

    def forward(self, images):
        return self.adaptive_pool(self.resnet(images)).permute(0, 2, 3, 1)


class Attention(nn.Module):
    def __init__(self, encoder_dim, decoder_dim, attention_dim):
        super().__init__()
        self.encoder_att = nn.Linear(encoder_dim, attention_dim)
        self.decoder_att = nn.Linear(decoder_dim, attention_dim)
        self.full_att = nn.Linear(attention_dim, 1)

    def forward(self, encoder_out, decoder_hidden):
        att1 = self.encoder_att(encoder_out)
        att2 = self.decoder_att(decoder_hidden)
        att = self.full_att(F.relu(att1 + att2.unsqueeze(1))).squeeze(2)
        alpha = F.softmax(att, dim=1)
        return (encoder_out * alpha.unsqueeze(2)).sum(dim=1), alpha


class DecoderWithAttention(nn.Module):
    def __init__(self, attention_dim, embed_dim, decoder_dim, vocab_size, encoder_dim=32, dropout=0.5):
        super().__init__()
        self.vocab_size = vocab_size
        self.attention = Attention(encoder_dim, decoder_dim, attention_dim)
        self.embedding = nn.Embedding(vocab_size, embed_dim)
        self.dropout = nn.Dropout(p=dropout)
        self.decode_step = nn.LSTMCell(embed_dim + encoder_dim, decoder_dim)
        self.init_h = nn.Linear(encoder_dim, decoder_dim)
        self.init_c = nn.Linear(encoder_dim, decoder_dim)
        self.f_beta = nn.Linear(decoder_dim, encoder_dim)
        self.fc = nn.Linear(decoder_dim, vocab_size)

    def forward(self, encoder_out, encoded_captions, caption_lengths):
        batch_size, encoder_dim = encoder_out.size(0), encoder_out.size(-1)
        encoder_out = encoder_out.reshape(batch_size, -1, encoder_dim)
        num_pixels = encoder_out.size(1)
        caption_lengths, sort_ind = caption_lengths.squeeze(1).sort(dim=0, descending=True)
        encoder_out = encoder_out[sort_ind]
        encoded_captions = encoded_captions[sort_ind]
        embeddings = self.embedding(encoded_captions)
        mean_encoder_out = encoder_out.mean(dim=1)
        h, c = self.init_h(mean_encoder_out), self.init_c(mean_encoder_out)
        decode_lengths = (caption_lengths - 1).tolist()
        predictions = torch.zeros(batch_size, max(decode_lengths), self.vocab_size)
        alphas = torch.zeros(batch_size, max(decode_lengths), num_pixels)
        for t in range(max(decode_lengths)):
            batch_size_t = sum([l > t for l in decode_lengths])
            awe, alpha = self.attention(encoder_out[:batch_size_t], h[:batch_size_t])
            awe = torch.sigmoid(self.f_beta(h[:batch_size_t])) * awe
            h, c = self.decode_step(torch.cat([embeddings[:batch_size_t, t, :], awe], dim=1),
                                    (h[:batch_size_t], c[:batch_size_t]))
            predictions[:batch_size_t, t, :] = self.fc(self.dropout(h))
            alphas[:batch_size_t, t, :] = alpha
        return predictions, encoded_captions, decode_lengths, alphas, sort_ind


class Captioner(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.encoder = Encoder()
        self.decoder = DecoderWithAttention(24, 24, 48, vocab_size)


def batch(word_map_size, max_len=18, pad=0):
    caplens = torch.tensor([[9], [16], [12], [7]])
    caps = [torch.randint(3, word_map_size, (int(l),)) for l in caplens]
    caps = pad_sequence(caps + [torch.zeros(max_len + 2, dtype=torch.long)], batch_first=True, padding_value=pad)[:-1]
    return torch.rand(4, 3, 32, 32), caps, caplens


def build():
    return Captioner(vocab_size=60)


def step(model):
    criterion = nn.CrossEntropyLoss()
    imgs, caps, caplens = batch(60)
    imgs = model.encoder(imgs)
    scores, caps_sorted, decode_lengths, alphas, sort_ind = model.decoder(imgs, caps, caplens)
    targets = caps_sorted[:, 1:]
    loss = criterion(scores, targets)
    return loss + 1. * ((1. - alphas.sum(dim=1)) ** 2).mean()


# real fix: scores and targets = pack_padded_sequence(..., decode_lengths, batch_first=True).data
# offending tensors: scores (4, 15, 60): the classes are not dimension 1; targets (4, 19): padded beyond the longest caption
TRUTH = dict(raises='RuntimeError', at='loss:cross_entropy', culprits=['target', 'function:getitem', 'function:zeros'], dim=None, got=None, wanted=None,
             hint_any=['pack', 'decode_lengths', 'padded', 'transpose', 'permute', 'class dimension', 'view(-1', 'flatten'])
MENDED = [('    loss = criterion(scores, targets)', '    scores = pack_padded_sequence(scores, decode_lengths, batch_first=True).data\n    targets = pack_padded_sequence(targets, decode_lengths, batch_first=True).data\n    loss = criterion(scores, targets)')]
