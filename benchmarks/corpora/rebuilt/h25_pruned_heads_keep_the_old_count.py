import math
import torch
import torch.nn as nn

SOURCE = 'https://github.com/intel/neural-compressor/issues/525'
CATEGORY = 'layer'
DESCRIPTION = 'Head pruning cuts the rows of query, key and value, but the attributes that count the heads are not brought into line, so the split into heads asks for the old size.'


class BertSelfAttention(nn.Module):
    def __init__(self, hidden_size, num_heads):
        super().__init__()
        self.num_attention_heads = num_heads
        self.attention_head_size = hidden_size // num_heads
        self.all_head_size = hidden_size
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.value = nn.Linear(hidden_size, hidden_size)

    def transpose_for_scores(self, x):
        new_x_shape = x.size()[:-1] + (self.num_attention_heads, self.attention_head_size)
        x = x.view(*new_x_shape)
        return x.permute(0, 2, 1, 3)

    def forward(self, hidden_states):
        q = self.transpose_for_scores(self.query(hidden_states))
        k = self.transpose_for_scores(self.key(hidden_states))
        v = self.transpose_for_scores(self.value(hidden_states))
        scores = q @ k.transpose(-1, -2) / math.sqrt(self.attention_head_size)
        ctx = (scores.softmax(-1) @ v).permute(0, 2, 1, 3)
        return ctx.flatten(2)


class BertLayer(nn.Module):
    def __init__(self, hidden_size, num_heads):
        super().__init__()
        self.self = BertSelfAttention(hidden_size, num_heads)
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, x):
        return self.norm(x + self.dense(self.self(x)))


class BertForSequenceClassification(nn.Module):
    def __init__(self, vocab=100, hidden_size=96, num_heads=12, layers=2, num_labels=2):
        super().__init__()
        self.embeddings = nn.Embedding(vocab, hidden_size)
        self.layer = nn.ModuleList([BertLayer(hidden_size, num_heads) for _ in range(layers)])
        self.classifier = nn.Linear(hidden_size, num_labels)

    def forward(self, input_ids):
        x = self.embeddings(input_ids)
        for layer in self.layer:
            x = layer(x)
        return self.classifier(x[:, 0])


def keep_rows(linear, index):
    new = nn.Linear(linear.in_features, len(index))
    new.weight.data = linear.weight.data[index].clone()
    new.bias.data = linear.bias.data[index].clone()
    return new


def keep_columns(linear, index):
    new = nn.Linear(len(index), linear.out_features)
    new.weight.data = linear.weight.data[:, index].clone()
    new.bias.data = linear.bias.data.clone()
    return new


def prune_heads(layer, target_heads):
    att = layer.self
    w = att.query.weight.data.view(att.num_attention_heads, -1).norm(dim=1)
    kept = w.topk(target_heads).indices.sort().values
    size = att.attention_head_size
    index = torch.cat([torch.arange(h * size, (h + 1) * size) for h in kept.tolist()])
    att.query = keep_rows(att.query, index)
    att.key = keep_rows(att.key, index)
    att.value = keep_rows(att.value, index)
    layer.dense = keep_columns(layer.dense, index)
    return layer


def build():
    torch.manual_seed(0)
    model = BertForSequenceClassification()
    for layer in model.layer:
        prune_heads(layer, 8)
    return model


def step(model):
    input_ids = torch.randint(0, 100, (8, 11))
    labels = torch.randint(0, 2, (8,))
    return nn.functional.cross_entropy(model(input_ids), labels)


# after pruning num_attention_heads still says 12: 64 columns are viewed as 12 x 8
TRUTH = dict(raises='RuntimeError', at='function:view', culprits=['function:view', 'layer.0.self'], dim=2, got=64, wanted=96,
             hint_any=['head', '12', '64', '96'])
MENDED = [('    layer.dense = keep_columns(layer.dense, index)\n', '    layer.dense = keep_columns(layer.dense, index)\n    att.num_attention_heads = target_heads\n')]
