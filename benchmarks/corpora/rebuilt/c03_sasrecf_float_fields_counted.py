import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/RUCAIBox/RecBole/issues/1983'
CATEGORY = 'layer'
DESCRIPTION = 'SASRecF: the fusion layer counts every selected item field, the two float fields are never embedded as they are not in numerical_features.'

FIELDS = {'name': 'token_seq', 'company_id': 'token', 'keySkills': 'token_seq', 'compensation_from': 'float', 'compensation_to': 'float',
          'area_id': 'token', 'employment': 'token', 'workSchedule': 'token', 'workExperience': 'token'}
CONFIG = dict(hidden_size=64, n_layers=2, n_heads=2, inner_size=128, dropout=0.2, pooling_mode='mean', max_item_list_length=10,
              selected_features=list(FIELDS), numerical_features=[])


class ItemFeatures:
    """Feature table of the items: row 0 is padding."""

    def __init__(self, n_items):
        self.num = {'name': 60, 'company_id': 20, 'keySkills': 40, 'area_id': 12, 'employment': 5, 'workSchedule': 5, 'workExperience': 6}
        self.table = {}
        for field, kind in FIELDS.items():
            if kind == 'token':
                self.table[field] = torch.randint(1, self.num[field], (n_items,))
            elif kind == 'token_seq':
                self.table[field] = torch.randint(0, self.num[field], (n_items, 6))
            else:
                self.table[field] = torch.rand(n_items)


class FeatureSeqEmbLayer(nn.Module):
    def __init__(self, features, config):
        super().__init__()
        self.features, dim = features, config['hidden_size']
        self.pooling_mode = config['pooling_mode']
        self.token_fields, self.token_seq_fields, self.float_fields = [], [], []
        for field in config['selected_features']:
            if FIELDS[field] == 'token':
                self.token_fields.append(field)
            elif FIELDS[field] == 'token_seq':
                self.token_seq_fields.append(field)
            elif field in config['numerical_features']:
                self.float_fields.append(field)
        self.token_tables = nn.ModuleDict({f: nn.Embedding(features.num[f], dim) for f in self.token_fields})
        self.token_seq_tables = nn.ModuleDict({f: nn.Embedding(features.num[f], dim) for f in self.token_seq_fields})
        self.float_tables = nn.ModuleDict({f: nn.Embedding(1, dim) for f in self.float_fields})

    def forward(self, item_seq):
        found = []
        for field in self.token_fields:
            found.append(self.token_tables[field](self.features.table[field][item_seq]))
        for field in self.token_seq_fields:
            value = self.features.table[field][item_seq]
            mask = (value != 0).float().unsqueeze(-1)
            emb = self.token_seq_tables[field](value) * mask
            found.append(emb.sum(2) / (mask.sum(2) + 1e-8) if self.pooling_mode == 'mean' else emb.sum(2))
        for field in self.float_fields:
            value = self.features.table[field][item_seq].unsqueeze(-1)
            found.append(value * self.float_tables[field].weight[0])
        return torch.stack(found, dim=2)


class SASRecF(nn.Module):
    def __init__(self, config, n_items=50):
        super().__init__()
        size = config['hidden_size']
        self.item_embedding = nn.Embedding(n_items, size, padding_idx=0)
        self.position_embedding = nn.Embedding(config['max_item_list_length'], size)
        self.feature_embed_layer = FeatureSeqEmbLayer(ItemFeatures(n_items), config)
        block = nn.TransformerEncoderLayer(size, config['n_heads'], config['inner_size'], config['dropout'], batch_first=True)
        self.trm_encoder = nn.TransformerEncoder(block, config['n_layers'])
        self.num_feature_field = len(config['selected_features'])
        self.concat_layer = nn.Linear(size * (1 + self.num_feature_field), size)
        self.LayerNorm = nn.LayerNorm(size)
        self.dropout = nn.Dropout(config['dropout'])

    def forward(self, item_seq, item_seq_len):
        item_emb = self.item_embedding(item_seq)
        position = self.position_embedding(torch.arange(item_seq.size(1))).expand_as(item_emb)
        features = self.feature_embed_layer(item_seq)
        table_shape = features.shape
        feature_emb = features.view(*table_shape[:-2], table_shape[-2] * table_shape[-1])
        input_emb = self.concat_layer(torch.cat((item_emb, feature_emb), -1))
        input_emb = self.dropout(self.LayerNorm(input_emb + position))
        causal = torch.triu(torch.full((item_seq.size(1),) * 2, float('-inf')), 1)
        out = self.trm_encoder(input_emb, mask=causal)
        return out[torch.arange(len(out)), item_seq_len - 1]

    def calculate_loss(self, item_seq, item_seq_len, pos_items):
        logits = self.forward(item_seq, item_seq_len) @ self.item_embedding.weight.t()
        return F.cross_entropy(logits, pos_items)


def build():
    return SASRecF(CONFIG)


def step(model):
    lengths = torch.randint(3, 11, (16,))
    item_seq = torch.randint(1, 50, (16, 10)) * (torch.arange(10)[None] < lengths[:, None])
    return model.calculate_loss(item_seq, lengths, torch.randint(1, 50, (16,)))


# real fix: name the float fields in numerical_features (or do not count what is not embedded)
# offending tensor: concatenated features (16, 10, 512), Linear(640, 64)
TRUTH = dict(raises='RuntimeError', at='module:concat_layer', culprits=['concat_layer', 'feature_embed_layer', 'function:stack', 'function:cat'],
             dim=2, got=512, wanted=640, hint_any=['in_features', '512', 'numerical', 'float', 'field'])
MENDED = [('numerical_features=[])', "numerical_features=['compensation_from', 'compensation_to'])")]
