import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://discuss.pytorch.org/t/concatnation-of-h-t-of-forward-and-h-0-of-backward-in-bidirection-lstm-output/10333'
CATEGORY = 'correct'
DESCRIPTION = 'Named entities with word and character features: the characters of every word go through a bidirectional LSTM of their own.'


class CharFeatures(nn.Module):
    def __init__(self, n_chars=40, char_dim=12, char_hidden=10):
        super().__init__()
        self.char_hidden = char_hidden
        self.char_embed = nn.Embedding(n_chars, char_dim)
        self.char_lstm = nn.LSTM(char_dim, char_hidden, batch_first=True, bidirectional=True)

    def forward(self, chars):
        batch, words, letters = chars.shape
        char_embeds = self.char_embed(chars.view(batch * words, letters))
        char_rnn_out, char_hidden = self.char_lstm(char_embeds)
        features = char_hidden[0].transpose(0, 1).contiguous()
        return features.view(batch, words, 2 * self.char_hidden)


class NERTagger(nn.Module):
    def __init__(self, n_words=80, word_dim=20, hidden=16, n_tags=5):
        super().__init__()
        self.word_embed = nn.Embedding(n_words, word_dim)
        self.char_features = CharFeatures()
        self.dropout = nn.Dropout(0.3)
        self.word_lstm = nn.LSTM(word_dim + 20, hidden, batch_first=True, bidirectional=True)
        self.hidden2tag = nn.Linear(2 * hidden, n_tags)

    def forward(self, words, chars):
        x = torch.cat([self.word_embed(words), self.char_features(chars)], dim=2)
        x, _ = self.word_lstm(self.dropout(x))
        return self.hidden2tag(x)


def sentences(batch=4, words=10, letters=10):
    return torch.randint(0, 80, (batch, words)), torch.randint(0, 40, (batch, words, letters)), torch.randint(0, 5, (batch, words))


def build():
    return NERTagger()


def step(model):
    words, chars, tags = sentences()
    scores = model(words, chars)
    return F.cross_entropy(scores.transpose(1, 2), tags)


# char_hidden[0] is h_n (2, batch * words, hidden): forward state behind the last letter, backward state at the first one.
# Transposed before the view, so every word keeps its own two states.
TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
