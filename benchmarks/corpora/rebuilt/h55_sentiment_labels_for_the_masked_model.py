import torch
import torch.nn as nn
from torch.nn import CrossEntropyLoss

SOURCE = 'https://openillumi.com/?p=67294 (retells a question on fine-tuning BERT for sentiment with the Trainer)'
CATEGORY = 'loss'
DESCRIPTION = 'Sentiment analysis is trained with BertForMaskedLM: it scores the vocabulary at every token, the labels are one number per review.'


class BertConfig:
    def __init__(self, vocab_size=300, hidden_size=32, layers=2, heads=4, max_length=64, num_labels=2):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.layers = layers
        self.heads = heads
        self.max_length = max_length
        self.num_labels = num_labels


class BertModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=0)
        self.position_embeddings = nn.Embedding(config.max_length, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size)
        layer = nn.TransformerEncoderLayer(config.hidden_size, config.heads, 4 * config.hidden_size, batch_first=True, activation='gelu')
        self.encoder = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)
        self.pooler = nn.Sequential(nn.Linear(config.hidden_size, config.hidden_size), nn.Tanh())

    def forward(self, input_ids, attention_mask):
        x = self.word_embeddings(input_ids) + self.position_embeddings(torch.arange(input_ids.size(1)))
        x = self.encoder(self.LayerNorm(x), src_key_padding_mask=attention_mask == 0)
        return x, self.pooler(x[:, 0])


class BertLMPredictionHead(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.transform = nn.Sequential(nn.Linear(config.hidden_size, config.hidden_size), nn.GELU(), nn.LayerNorm(config.hidden_size))
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)

    def forward(self, x):
        return self.decoder(self.transform(x))


class BertForMaskedLM(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.bert = BertModel(config)
        self.cls = BertLMPredictionHead(config)

    def forward(self, input_ids, attention_mask, labels=None):
        sequence_output, pooled = self.bert(input_ids, attention_mask)
        prediction_scores = self.cls(sequence_output)
        loss = None
        if labels is not None:
            loss_fct = CrossEntropyLoss()
            loss = loss_fct(prediction_scores.view(-1, self.config.vocab_size), labels.view(-1))
        return {'loss': loss, 'logits': prediction_scores}


class BertForSequenceClassification(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.bert = BertModel(config)
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, input_ids, attention_mask, labels=None):
        sequence_output, pooled = self.bert(input_ids, attention_mask)
        logits = self.classifier(self.dropout(pooled))
        loss = None
        if labels is not None:
            loss_fct = CrossEntropyLoss()
            loss = loss_fct(logits.view(-1, self.config.num_labels), labels.view(-1))
        return {'loss': loss, 'logits': logits}


def collate(features):
    longest = max(len(f['input_ids']) for f in features)
    ids = torch.zeros(len(features), longest, dtype=torch.long)
    for i, f in enumerate(features):
        ids[i, :len(f['input_ids'])] = torch.tensor(f['input_ids'])
    return {'input_ids': ids, 'attention_mask': (ids != 0).long(), 'labels': torch.tensor([f['label'] for f in features])}


class Trainer:
    def __init__(self, model, train_dataset, batch_size):
        self.model, self.train_dataset, self.batch_size = model, train_dataset, batch_size

    def compute_loss(self, inputs):
        return self.model(**inputs)['loss']

    def training_step(self):
        return self.compute_loss(collate(self.train_dataset[:self.batch_size]))


def build():
    return BertForMaskedLM(BertConfig())


def step(model):
    reviews = [{'input_ids': [101] + torch.randint(103, 300, (8 + i % 7,)).tolist() + [102], 'label': i % 2} for i in range(32)]
    return Trainer(model, reviews, batch_size=16).training_step()


TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['cls', 'cls.decoder', ''], dim=0, got=256, wanted=16,
             hint_any=['token', 'sequence', 'pool', '16', 'classif'])
MENDED = [('return BertForMaskedLM(BertConfig())', 'return BertForSequenceClassification(BertConfig())')]
