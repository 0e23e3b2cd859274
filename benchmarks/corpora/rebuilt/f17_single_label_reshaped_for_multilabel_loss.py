import torch
import torch.nn as nn
from torch.nn import BCEWithLogitsLoss

SOURCE = 'https://github.com/NanoNets/bert-text-moderation/issues/4'
CATEGORY = 'loss'
DESCRIPTION = 'Multi-label moderation model used for two sentiment classes: the csv has one label column (8,), labels.view(-1, 2) makes four rows of it.'


class BertConfig:
    vocab_size, hidden_size, num_attention_heads, num_hidden_layers, intermediate_size = 160, 48, 4, 2, 96
    max_position_embeddings, hidden_dropout_prob = 64, 0.1


class BertModel(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.word_embeddings = nn.Embedding(c.vocab_size, c.hidden_size, padding_idx=0)
        self.position_embeddings = nn.Embedding(c.max_position_embeddings, c.hidden_size)
        self.token_type_embeddings = nn.Embedding(2, c.hidden_size)
        self.LayerNorm = nn.LayerNorm(c.hidden_size, eps=1e-12)
        layer = nn.TransformerEncoderLayer(c.hidden_size, c.num_attention_heads, c.intermediate_size, c.hidden_dropout_prob, 'gelu', batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, c.num_hidden_layers, enable_nested_tensor=False)
        self.pooler = nn.Sequential(nn.Linear(c.hidden_size, c.hidden_size), nn.Tanh())

    def forward(self, input_ids, token_type_ids, attention_mask):
        pos = torch.arange(input_ids.size(1)).expand_as(input_ids)
        x = self.word_embeddings(input_ids) + self.position_embeddings(pos) + self.token_type_embeddings(token_type_ids)
        x = self.encoder(self.LayerNorm(x), src_key_padding_mask=attention_mask == 0)
        return x, self.pooler(x[:, 0])


class BertForMultiLabelSequenceClassification(nn.Module):
    def __init__(self, config, num_labels=2):
        super().__init__()
        self.num_labels = num_labels
        self.bert = BertModel(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, num_labels)
        nn.init.xavier_normal_(self.classifier.weight)

    def forward(self, input_ids, token_type_ids=None, attention_mask=None, labels=None):
        _, pooled_output = self.bert(input_ids, token_type_ids, attention_mask)
        logits = self.classifier(self.dropout(pooled_output))
        if labels is not None:
            loss_fct = BCEWithLogitsLoss()
            return loss_fct(logits.view(-1, self.num_labels), labels.view(-1, self.num_labels).float())
        return logits

    def freeze_bert_encoder(self):
        for param in self.bert.parameters():
            param.requires_grad = False

    def unfreeze_bert_encoder(self):
        for param in self.bert.parameters():
            param.requires_grad = True


class InputFeatures:
    def __init__(self, input_ids, input_mask, segment_ids, label_ids):
        self.input_ids, self.input_mask, self.segment_ids, self.label_ids = input_ids, input_mask, segment_ids, label_ids


LABELS = ['negative', 'positive']


def convert_examples_to_features(rows, max_seq_length):
    features = []
    for text, label in rows:
        tokens = [101] + [3 + sum(map(ord, w)) % 95 for w in text.split()][:max_seq_length - 2] + [102]
        padding = [0] * (max_seq_length - len(tokens))
        label_id = int(label)
        features.append(InputFeatures(tokens + padding, [1] * len(tokens) + padding, [0] * max_seq_length, label_id))
    return features


def collate(features):
    keys = ('input_ids', 'input_mask', 'segment_ids', 'label_ids')
    return tuple(torch.tensor([getattr(f, k) for f in features], dtype=torch.long) for k in keys)


def build():
    model = BertForMultiLabelSequenceClassification(BertConfig, num_labels=len(LABELS))
    model.unfreeze_bert_encoder()
    return model


def step(model):
    rows = [('This is one of the greatest movie I ever watched.', 1), ("I really didn't like the acting.", 0), ('boring', 0), ('a must see', 1),
            ('what a waste of time and money', 0), ('great cast', 1), ('my kids loved it', 1), ('no story at all', 0)]
    batch = collate(convert_examples_to_features(rows, 24))
    input_ids, input_mask, segment_ids, label_ids = batch
    return model(input_ids, segment_ids, input_mask, label_ids)


# real fix: a label row for each text with an entry per class (one-hot), as the multi-label loss wants
# offending tensor: labels (8,) viewed as (4, 2), the logits are (8, 2)
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy_with_logits', culprits=['target', 'function:view', 'input', 'function:tensor'], dim=0, got=4, wanted=8,
             hint_any=['label', 'one-hot', 'one_hot', 'view', 'cross_entropy'])
MENDED = [('label_id = int(label)', 'label_id = [int(label == i) for i in range(len(LABELS))]')]
