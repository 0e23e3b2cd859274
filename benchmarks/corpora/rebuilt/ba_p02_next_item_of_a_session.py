import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/NVIDIA-Merlin/Transformers4Rec/issues/176 (repaired in pull request 209)'
CATEGORY = 'layer'
DESCRIPTION = ('Session-based recommendation with stochastic swap noise: the padding mask comes from the item ids (batch, positions) and is used '
               'for every feature, also for the user features, which have one value a session.')

SCHEMA = {
    'item_id': dict(cardinality=120, tags=('item_id', 'list')),
    'category': dict(cardinality=14, tags=('list',)),
    'user_country': dict(cardinality=9, tags=()),
    'user_age_group': dict(cardinality=6, tags=()),
}


class StochasticSwapNoise(nn.Module):
    """Applies stochastic replacement of sequence features"""

    def __init__(self, schema, pad_token=0, replacement_prob=0.1):
        super().__init__()
        self.item_id = next(k for k, v in schema.items() if 'item_id' in v['tags'])
        self.pad_token = pad_token
        self.replacement_prob = replacement_prob

    def get_padding_mask_from_item_id(self, inputs):
        return inputs[self.item_id] != self.pad_token

    def forward(self, inputs):
        mask = self.get_padding_mask_from_item_id(inputs)
        return {name: self.augment(value, mask) for name, value in inputs.items()}

    def augment(self, x, mask):
        with torch.no_grad():
            candidates = torch.masked_select(x, mask)
            chance = torch.full(x.shape, self.replacement_prob, device=x.device)
            replace = torch.bernoulli(chance).bool() & mask
            n = int(replace.sum())
            picks = candidates[torch.randint(len(candidates), (n,), device=x.device)]
            out = x.clone()
            out[replace] = picks
        return out


class TabularSequenceFeatures(nn.Module):
    def __init__(self, schema, dim):
        super().__init__()
        self.embedding_tables = nn.ModuleDict({k: nn.Embedding(v['cardinality'], dim, padding_idx=0) for k, v in schema.items()})
        self.pre = StochasticSwapNoise(schema)
        self.projection = nn.Sequential(nn.Linear(dim * len(schema), dim), nn.ReLU(), nn.Linear(dim, dim))

    def forward(self, inputs):
        length = inputs['item_id'].size(1)
        if self.training:
            inputs = self.pre(inputs)
        embedded = []
        for name, table in self.embedding_tables.items():
            e = table(inputs[name])
            if e.dim() == 2:
                e = e.unsqueeze(1).expand(-1, length, -1)
            embedded.append(e)
        return self.projection(torch.cat(embedded, dim=-1))


class NextItemModel(nn.Module):
    def __init__(self, schema, dim=32, heads=4, layers=2):
        super().__init__()
        self.inputs = TabularSequenceFeatures(schema, dim)
        layer = nn.TransformerEncoderLayer(dim, heads, 4 * dim, dropout=0.1, batch_first=True)
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, batch):
        h = self.inputs(batch)
        length = h.size(1)
        causal = torch.triu(torch.ones(length, length, dtype=torch.bool), 1)
        h = self.body(h, mask=causal)
        return h @ self.inputs.embedding_tables['item_id'].weight.t()


def make_batch(batch=24, length=20):
    lengths = torch.randint(4, length + 1, (batch, 1))
    pad = torch.arange(length) >= lengths
    data = {}
    for name, column in SCHEMA.items():
        if 'list' in column['tags']:
            data[name] = torch.randint(1, column['cardinality'], (batch, length)).masked_fill(pad, 0)
        else:
            data[name] = torch.randint(1, column['cardinality'], (batch,))
    return data


def build():
    torch.manual_seed(0)
    return NextItemModel(SCHEMA)


def step(model):
    batch = make_batch()
    logits = model(batch)
    nxt = batch['item_id'][:, 1:]
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), nxt.flatten(), ignore_index=0)


# real fix: for features of one dimension the mask is its first column, mask[:, 0]
TRUTH = dict(raises='RuntimeError', at='function:masked_select', culprits=['function:masked_select', 'inputs.pre', 'function:ne'], dim=None, got=20, wanted=24,
             hint_any=['mask', '20', '24', '1-d', 'dimension'])
MENDED = [('            candidates = torch', '            mask = mask[:, 0] if x.dim() == 1 else mask\n            candidates = torch')]
