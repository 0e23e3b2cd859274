import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/allenai/allennlp/issues/5384'
CATEGORY = 'layer'
DESCRIPTION = 'Character CNN classifier with 2- to 5-gram filters: texts are padded to the longest of the batch only; one batch of short strings is three characters long.'


class Vocabulary:
    def __init__(self, chars='abcdefghijklmnopqrstuvwxyz0123456789 -/.'):
        self.index = {c: i + 2 for i, c in enumerate(chars)}

    def __len__(self):
        return len(self.index) + 2

    def __call__(self, text):
        return [self.index.get(c, 1) for c in text.lower()]


class Highway(nn.Module):
    def __init__(self, input_dim, num_layers=1):
        super().__init__()
        self._input_dim = input_dim
        self._layers = nn.ModuleList([nn.Linear(input_dim, input_dim * 2) for _ in range(num_layers)])

    def forward(self, inputs):
        current = inputs
        for layer in self._layers:
            projected = layer(current)
            nonlinear, gate = projected[:, :self._input_dim], torch.sigmoid(projected[:, self._input_dim:])
            current = gate * current + (1 - gate) * F.relu(nonlinear)
        return current


class CnnHighwayEncoder(nn.Module):
    def __init__(self, embedding_dim, filters, num_highway, projection_dim):
        super().__init__()
        self._convolutions = []
        for i, (width, num) in enumerate(filters):
            conv = nn.Conv1d(embedding_dim, num, kernel_size=width, bias=True)
            conv.weight.data.uniform_(-0.05, 0.05)
            self.add_module(f'char_conv_{i}', conv)
            self._convolutions.append(conv)
        num_filters = sum(num for _, num in filters)
        self._highways = Highway(num_filters, num_highway)
        self._projection = nn.Linear(num_filters, projection_dim)
        self._layer_norm = nn.LayerNorm(projection_dim)

    def forward(self, inputs, mask):
        inputs = (inputs * mask.unsqueeze(-1)).transpose(1, 2)
        convolutions = []
        for i in range(len(self._convolutions)):
            convolved = getattr(self, f'char_conv_{i}')(inputs)
            convolved, _ = torch.max(convolved, dim=-1)
            convolutions.append(F.relu(convolved))
        token_embedding = torch.cat(convolutions, dim=-1)
        return self._layer_norm(self._projection(self._highways(token_embedding)))


class BasicClassifier(nn.Module):
    def __init__(self, vocab, num_labels=5, embedding_dim=16, dropout=0.2):
        super().__init__()
        self.vocab = vocab
        self._embedder = nn.Embedding(len(vocab), embedding_dim, padding_idx=0)
        self._seq2vec_encoder = CnnHighwayEncoder(embedding_dim, [[2, 16], [3, 16], [4, 24], [5, 32]], 2, 32)
        self._dropout = nn.Dropout(dropout)
        self._classification_layer = nn.Linear(32, num_labels)
        self._loss = nn.CrossEntropyLoss()

    def forward(self, tokens, label):
        mask = tokens != 0
        encoded = self._dropout(self._seq2vec_encoder(self._embedder(tokens), mask))
        logits = self._classification_layer(encoded)
        return {'logits': logits, 'loss': self._loss(logits, label.long().view(-1))}


def index_and_pad(vocab, texts, min_padding_length=0):
    ids = [vocab(t) for t in texts]
    length = max(max(len(i) for i in ids), min_padding_length)
    return torch.tensor([i + [0] * (length - len(i)) for i in ids])


def build():
    return BasicClassifier(Vocabulary())


def step(model):
    batches = [(['ahu supply air temp', 'zone 4 setpoint', 'chw-p1/spd', 'vav'], [0, 1, 2, 3]),
               (['oat', 'sp', 'rh', 'dpt'], [0, 1, 4, 4])]
    total = 0.0
    for texts, labels in batches:
        tokens = index_and_pad(model.vocab, texts)
        total = total + model(tokens, torch.tensor(labels))['loss']
    return total / len(batches)


# real fix: the token indexer pads to at least the width of the widest filter
# offending tensor: the padded characters (4, 3), a filter is 4 wide
TRUTH = dict(raises='RuntimeError', at='module:_seq2vec_encoder.char_conv_2', culprits=['input', '_seq2vec_encoder.char_conv_2'], dim=2, got=3, wanted=4,
             hint_any=['pad', 'kernel', 'short', 'longer'])
MENDED = [('index_and_pad(model.vocab, texts)', 'index_and_pad(model.vocab, texts, min_padding_length=5)')]
