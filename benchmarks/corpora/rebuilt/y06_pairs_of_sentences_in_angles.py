import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/SeanLee97/AnglE/issues/101 (repaired in pull request 102)'
CATEGORY = 'silent'
DESCRIPTION = 'Sentence vectors for semantic similarity: pooled tokens of pairs, cosine, in-batch and angle objectives.'


def get_pooling(outputs, inputs, pooling_strategy, padding_side='right'):
    """pooling of the hidden states (B, T, C) by strategy"""
    if pooling_strategy == 'cls':
        outputs = outputs[:, 0]
    elif pooling_strategy == 'cls_avg':
        avg = torch.sum(outputs * inputs['attention_mask'][:, :, None], dim=1) / inputs['attention_mask'].sum(1, keepdim=True)
        outputs = (outputs[:, 0] + avg) / 2.0
    elif pooling_strategy == 'last':
        batch_size = inputs['input_ids'].shape[0]
        sequence_lengths = -1 if padding_side == 'left' else inputs['attention_mask'].sum(dim=1) - 1
        outputs = outputs[torch.arange(batch_size), sequence_lengths]
    elif pooling_strategy == 'avg':
        outputs = torch.sum(outputs * inputs['attention_mask'][:, :, None], dim=1) / torch.sum(inputs['attention_mask'])
    elif pooling_strategy == 'max':
        outputs, _ = torch.max(outputs * inputs['attention_mask'][:, :, None], dim=1)
    else:
        raise NotImplementedError(pooling_strategy)
    return outputs


def categorical_crossentropy(y_true, y_pred):
    return -(F.log_softmax(y_pred, dim=1) * y_true).sum(dim=1)


def cosine_loss(y_true, y_pred, tau=20.0):
    y_true = y_true[::2]
    y_true = (y_true[:, None] < y_true[None, :]).float()
    y_pred = F.normalize(y_pred, p=2, dim=1)
    y_pred = torch.sum(y_pred[::2] * y_pred[1::2], dim=1) * tau
    y_pred = y_pred[:, None] - y_pred[None, :]
    y_pred = (y_pred - (1 - y_true) * 1e12).view(-1)
    return torch.logsumexp(torch.cat((torch.zeros(1), y_pred)), dim=0)


def angle_loss(y_true, y_pred, tau=1.0):
    y_true = y_true[::2]
    y_true = (y_true[:, None] < y_true[None, :]).float()
    y_pred_re, y_pred_im = torch.chunk(y_pred, 2, dim=1)
    a, b = y_pred_re[::2], y_pred_im[::2]
    c, d = y_pred_re[1::2], y_pred_im[1::2]
    z = torch.sum(c ** 2 + d ** 2, dim=1, keepdim=True)
    re, im = (a * c + b * d) / z, (b * c - a * d) / z
    dz = torch.sum(a ** 2 + b ** 2, dim=1, keepdim=True) ** 0.5
    dw = torch.sum(c ** 2 + d ** 2, dim=1, keepdim=True) ** 0.5
    re, im = re / (dz / dw), im / (dz / dw)
    y_pred = torch.abs(torch.sum(torch.cat((re, im), dim=1), dim=1)) * tau
    y_pred = y_pred[:, None] - y_pred[None, :]
    y_pred = (y_pred - (1 - y_true) * 1e12).view(-1)
    return torch.logsumexp(torch.cat((torch.zeros(1), y_pred)), dim=0)


class Encoder(nn.Module):
    def __init__(self, vocab=120, dim=32, heads=4, layers=2):
        super().__init__()
        self.word = nn.Embedding(vocab, dim, padding_idx=0)
        self.position = nn.Embedding(32, dim)
        layer = nn.TransformerEncoderLayer(dim, heads, 2 * dim, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, input_ids, attention_mask):
        x = self.word(input_ids) + self.position.weight[:input_ids.size(1)]
        return self.encoder(x, src_key_padding_mask=attention_mask == 0)


class AnglE(nn.Module):
    def __init__(self, pooling_strategy='avg'):
        super().__init__()
        self.backbone = Encoder()
        self.pooling_strategy = pooling_strategy
        self.scorer = nn.Linear(32, 1)

    def forward(self, inputs):
        hidden = self.backbone(inputs['input_ids'], inputs['attention_mask'])
        return get_pooling(hidden, inputs, self.pooling_strategy)


def collate(pairs, scores):
    texts = [t for pair in pairs for t in pair]
    ids = nn.utils.rnn.pad_sequence(texts, batch_first=True)
    return dict(input_ids=ids, attention_mask=(ids != 0).long()), torch.tensor(scores).repeat_interleave(2)


def build():
    return AnglE()


def step(model):
    pairs = [tuple(torch.randint(1, 120, (int(n),)) for n in torch.randint(4, 20, (2,))) for _ in range(8)]
    inputs, labels = collate(pairs, [0.1 * i for i in range(8)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    model.train()
    for _ in range(2):
        out = model(inputs)
        length = model.scorer(out).squeeze(-1)
        loss = cosine_loss(labels, out) + angle_loss(labels, out) + 0.1 * F.mse_loss(length, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.detach()


# avg divides by the number of all tokens of the batch (sum of the whole mask) instead of those of each sentence
TRUTH = dict(raises=None, at=None, culprits=['function:sum', 'function:div', 'function:truediv'], dim=None, got=None, wanted=None,
             hint_any=['whole batch', 'each sentence', 'per sample', 'batch', 'mask', 'keepdim'])
MENDED = [("dim=1) / torch.sum(inputs['attention_mask'])", "dim=1) / torch.sum(inputs['attention_mask'], dim=1, keepdim=True)")]
