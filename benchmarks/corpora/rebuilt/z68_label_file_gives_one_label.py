import torch
import torch.nn as nn
from torch.nn import BCEWithLogitsLoss

SOURCE = 'https://github.com/appvision-ai/fast-bert/issues/226'
CATEGORY = 'loss'
DESCRIPTION = 'Multi-label BERT: the label file holds the 11 names in one line and is read as one label; logits and labels are both viewed as (-1, num_labels).'

LABELS_CSV = 'anger,anticipation,disgust,fear,joy,love,optimism,pessimism,sadness,surprise,trust\n'


class Config:
    def __init__(self, num_labels, vocab_size=200, hidden_size=48, layers=2, heads=4, max_len=32):
        self.num_labels, self.vocab_size, self.hidden_size = num_labels, vocab_size, hidden_size
        self.num_hidden_layers, self.num_attention_heads, self.max_len = layers, heads, max_len


class BertModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embeddings = nn.Embedding(config.max_len, config.hidden_size)
        layer = nn.TransformerEncoderLayer(config.hidden_size, config.num_attention_heads, 96, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, config.num_hidden_layers, enable_nested_tensor=False)
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, input_ids, attention_mask):
        positions = torch.arange(input_ids.size(1)).unsqueeze(0)
        x = self.word_embeddings(input_ids) + self.position_embeddings(positions)
        x = self.encoder(x, src_key_padding_mask=attention_mask == 0)
        return x, torch.tanh(self.pooler(x[:, 0]))


class BertForMultiLabelSequenceClassification(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.num_labels = config.num_labels
        self.bert = BertModel(config)
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, input_ids, attention_mask=None, labels=None):
        outputs = self.bert(input_ids, attention_mask)
        pooled_output = self.dropout(outputs[1])
        logits = self.classifier(pooled_output)
        outputs = (logits,) + outputs[2:]
        if labels is not None:
            loss_fct = BCEWithLogitsLoss()
            labels = labels.float()
            loss = loss_fct(logits.view(-1, self.num_labels), labels.view(-1, self.num_labels))
            outputs = (loss,) + outputs
        return outputs


class BertDataBunch:
    def __init__(self, batch_size=16, max_seq_length=24):
        self.labels = []
        for row in LABELS_CSV.splitlines():
            self.labels.append(row)
        self.batch_size, self.max_seq_length = batch_size, max_seq_length

    def get_batch(self):
        g = torch.Generator().manual_seed(5)
        ids = torch.randint(1, 200, (self.batch_size, self.max_seq_length), generator=g)
        lengths = torch.randint(6, self.max_seq_length + 1, (self.batch_size,), generator=g)
        mask = (torch.arange(self.max_seq_length)[None] < lengths[:, None]).long()
        targets = (torch.rand(self.batch_size, 11, generator=g) > 0.8).long()
        return {'input_ids': ids * mask, 'attention_mask': mask, 'labels': targets}


databunch = BertDataBunch()


def build():
    torch.manual_seed(0)
    return BertForMultiLabelSequenceClassification(Config(num_labels=len(databunch.labels)))


def step(model):
    outputs = model(**databunch.get_batch())
    return outputs[0]


# real fix: the databunch has to know all 11 labels, so that num_labels=11
# offending tensor: logits (16, 1)
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy_with_logits', culprits=['classifier'], dim=1, got=1, wanted=11,
             hint_any=['num_labels', '11', '(16, 11)', 'out_features'])
MENDED = [('self.labels.append(row)', "self.labels.extend(row.split(','))")]
