import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/RUCAIBox/RecBole/issues/1983'
CATEGORY = 'layer'
DESCRIPTION = 'Sequential recommender with item features: it trains with the category alone, not with all the selected columns.'

CONFIG = dict(hidden_size=16, n_layers=2, n_heads=2, max_seq_length=16, pooling_mode='mean',
              selected_features=['name', 'company_id', 'compensation_from', 'compensation_to', 'area_id'])


class VacancyDataset:
    n_items = 50
    field2type = dict(vacancy_id='token', name='token_seq', company_id='token', compensation_from='float',
                      compensation_to='float', area_id='token')
    field2tokens = dict(name=30, company_id=12, area_id=7)

    def __init__(self):
        self.item_feat = dict(name=torch.randint(0, 30, (self.n_items, 5)), company_id=torch.randint(0, 12, (self.n_items,)),
                              compensation_from=torch.rand(self.n_items), compensation_to=torch.rand(self.n_items),
                              area_id=torch.randint(0, 7, (self.n_items,)))

    def batch(self, size=8, length=16):
        lengths = torch.randint(3, length + 1, (size,))
        seq = torch.randint(1, self.n_items, (size, length))
        seq[torch.arange(length)[None] >= lengths[:, None]] = 0
        return dict(item_id_list=seq, item_length=lengths, item_id=torch.randint(1, self.n_items, (size,)))


class FeatureSeqEmbLayer(nn.Module):
    def __init__(self, dataset, embedding_size, selected_features, pooling_mode):
        super().__init__()
        self.dataset, self.pooling_mode = dataset, pooling_mode
        self.token_field_names = [f for f in selected_features if dataset.field2type[f] == 'token']
        self.token_seq_field_names = [f for f in selected_features if dataset.field2type[f] == 'token_seq']
        self.embedding_table = nn.ModuleDict({f: nn.Embedding(dataset.field2tokens[f], embedding_size, padding_idx=0)
                                              for f in self.token_field_names + self.token_seq_field_names})

    def embed_token_fields(self, item_idx):
        return [self.embedding_table[f](self.dataset.item_feat[f][item_idx]) for f in self.token_field_names]

    def embed_token_seq_fields(self, item_idx):
        fields_result = []
        for f in self.token_seq_field_names:
            tokens = self.dataset.item_feat[f][item_idx]                        # [B, L, words]
            mask = (tokens != 0).float().unsqueeze(-1)
            emb = self.embedding_table[f](tokens) * mask
            emb = emb.sum(dim=2) / (mask.sum(dim=2) + 1e-8) if self.pooling_mode == 'mean' else emb.sum(dim=2)
            fields_result.append(emb)
        return fields_result

    def forward(self, item_idx):
        sparse = self.embed_token_fields(item_idx) + self.embed_token_seq_fields(item_idx)
        return torch.stack(sparse, dim=2) if sparse else None                   # [B, L, fields, H]


class SASRecF(nn.Module):
    def __init__(self, config, dataset):
        super().__init__()
        self.hidden_size = config['hidden_size']
        self.num_feature_field = len(config['selected_features'])
        self.item_embedding = nn.Embedding(dataset.n_items, self.hidden_size, padding_idx=0)
        self.position_embedding = nn.Embedding(config['max_seq_length'], self.hidden_size)
        self.feature_embed_layer = FeatureSeqEmbLayer(dataset, self.hidden_size, config['selected_features'], config['pooling_mode'])
        self.trm_encoder = nn.ModuleList([nn.TransformerEncoderLayer(self.hidden_size, config['n_heads'], 32, 0.1, batch_first=True)
                                          for _ in range(config['n_layers'])])
        self.concat_layer = nn.Linear(self.hidden_size * (1 + self.num_feature_field), self.hidden_size)
        self.LayerNorm = nn.LayerNorm(self.hidden_size)

    def gather_indexes(self, output, gather_index):
        gather_index = gather_index.view(-1, 1, 1).expand(-1, -1, output.shape[-1])
        return output.gather(dim=1, index=gather_index).squeeze(1)

    def forward(self, item_seq, item_seq_len):
        item_emb = self.item_embedding(item_seq)
        position_ids = torch.arange(item_seq.size(1)).unsqueeze(0).expand_as(item_seq)
        position_embedding = self.position_embedding(position_ids)
        feature_table = self.feature_embed_layer(item_seq)
        feat_num, embedding_size = feature_table.shape[-2:]
        feature_emb = feature_table.view(feature_table.shape[:-2] + (feat_num * embedding_size,))
        input_concat = torch.cat((item_emb, feature_emb), -1)                   # [B, L, (1 + field_num) * H]
        x = self.LayerNorm(self.concat_layer(input_concat) + position_embedding)
        mask = torch.ones(x.shape[1], x.shape[1]).triu(1).bool()
        for layer in self.trm_encoder:
            x = layer(x, src_mask=mask)
        return self.gather_indexes(x, item_seq_len - 1)

    def calculate_loss(self, interaction):
        seq_output = self.forward(interaction['item_id_list'], interaction['item_length'])
        logits = torch.matmul(seq_output, self.item_embedding.weight.transpose(0, 1))
        return F.cross_entropy(logits, interaction['item_id'])


dataset = VacancyDataset()


def build():
    return SASRecF(CONFIG, dataset)


def step(model):
    return model.calculate_loss(dataset.batch())


# real cause: the two float columns get no embedding in the feature layer, but concat_layer is sized for all selected columns
# offending tensor: input_concat (8, 16, 64) in a layer for (1 + 5) * 16 = 96
TRUTH = dict(raises='RuntimeError', at='module:concat_layer', culprits=['concat_layer', 'feature_embed_layer'], dim=2, got=64, wanted=96,
             hint_any=['64', '96', 'in_features', 'num_feature_field', 'float', 'selected_features'])
MENDED = [("len(config['selected_features'])", "len([f for f in config['selected_features'] if dataset.field2type[f] != 'float'])")]
