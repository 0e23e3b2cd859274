import torch
import torch.nn as nn

SOURCE = 'https://github.com/RUCAIBox/RecBole/issues/1318'
CATEGORY = 'layer'
DESCRIPTION = 'A sequential recommender sizes its item table by the vocabulary of item_id; the history item_id_list has a vocabulary of its own, which is larger.'

config = dict(USER_ID_FIELD='user_id', ITEM_ID_FIELD='item_id', ITEM_LIST_FIELD='item_id_list', alias_of_item_id=None, MAX_ITEM_LIST_LENGTH=6,
              embedding_size=16, hidden_size=32, n_layers=1, dropout_probs=[0.25, 0.5])

INTER = [('0', '0 1 2 3 4', '9'), ('1', '0 1 2 3', '5'), ('2', '2 6 1', '4'), ('3', '6 7 8 0 2', '9')]


class SequentialDataset:
    def __init__(self, config, rows):
        self.config, self.rows = config, rows
        user, item, items = config['USER_ID_FIELD'], config['ITEM_ID_FIELD'], config['ITEM_LIST_FIELD']
        columns = {user: [r[0] for r in rows], items: [t for r in rows for t in r[1].split()], item: [r[2] for r in rows]}
        self.field2token_id = {}
        for group in self._get_remap_list(columns):
            tokens = dict.fromkeys(['[PAD]'] + [t for f in group for t in columns[f]])
            mp = {t: i for i, t in enumerate(tokens)}
            for field in group:
                self.field2token_id[field] = mp

    def _get_remap_list(self, columns):
        alias = self.config['alias_of_item_id'] or []
        groups = [[self.config['ITEM_ID_FIELD'], *alias]]
        return groups + [[f] for f in columns if f not in groups[0]]

    def num(self, field):
        return len(self.field2token_id[field])

    def interactions(self):
        items, item = self.config['ITEM_LIST_FIELD'], self.config['ITEM_ID_FIELD']
        seq = torch.zeros(len(self.rows), self.config['MAX_ITEM_LIST_LENGTH'], dtype=torch.long)
        length = []
        for i, (_, history, _) in enumerate(self.rows):
            ids = [self.field2token_id[items][t] for t in history.split()]
            seq[i, :len(ids)] = torch.tensor(ids)
            length.append(len(ids))
        target = torch.tensor([self.field2token_id[item][r[2]] for r in self.rows])
        return {items: seq, 'item_length': torch.tensor(length), item: target}


class SequentialRecommender(nn.Module):
    def __init__(self, config, dataset):
        super().__init__()
        self.ITEM_ID, self.ITEM_SEQ = config['ITEM_ID_FIELD'], config['ITEM_LIST_FIELD']
        self.n_items = dataset.num(self.ITEM_ID)

    def gather_indexes(self, output, index):
        return output.gather(1, index.view(-1, 1, 1).expand(-1, -1, output.shape[-1])).squeeze(1)


class NARM(SequentialRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        emb, hid = config['embedding_size'], config['hidden_size']
        self.item_embedding = nn.Embedding(self.n_items, emb, padding_idx=0)
        self.emb_dropout = nn.Dropout(config['dropout_probs'][0])
        self.gru = nn.GRU(emb, hid, config['n_layers'], bias=False, batch_first=True)
        self.a_1, self.a_2 = nn.Linear(hid, hid, bias=False), nn.Linear(hid, hid, bias=False)
        self.v_t = nn.Linear(hid, 1, bias=False)
        self.ct_dropout = nn.Dropout(config['dropout_probs'][1])
        self.b = nn.Linear(2 * hid, emb, bias=False)
        self.loss_fct = nn.CrossEntropyLoss()

    def forward(self, item_seq, item_seq_len):
        gru_out, _ = self.gru(self.emb_dropout(self.item_embedding(item_seq)))
        c_global = ht = self.gather_indexes(gru_out, item_seq_len - 1)
        mask = item_seq.gt(0).unsqueeze(2).expand_as(gru_out)
        alpha = self.v_t(mask * torch.sigmoid(self.a_1(gru_out) + self.a_2(ht).unsqueeze(1)))
        c_local = torch.sum(alpha.expand_as(gru_out) * gru_out, 1)
        return self.b(self.ct_dropout(torch.cat([c_local, c_global], 1)))

    def calculate_loss(self, interaction):
        seq_output = self.forward(interaction[self.ITEM_SEQ], interaction['item_length'])
        logits = torch.matmul(seq_output, self.item_embedding.weight.transpose(0, 1))
        return self.loss_fct(logits, interaction[self.ITEM_ID])


def build():
    model = NARM(config, SequentialDataset(config, INTER))
    return model


def step(model):
    return model.calculate_loss(SequentialDataset(config, INTER).interactions())


# real fix: alias_of_item_id: [item_id_list], one vocabulary for both fields
TRUTH = dict(raises='IndexError', at='module:item_embedding', culprits=['item_embedding', 'input'], dim=None, got=None, wanted=None,
             hint_any=['num_embeddings', 'vocab', 'range', 'alias'])
MENDED = [('alias_of_item_id=None', "alias_of_item_id=['item_id_list']")]
