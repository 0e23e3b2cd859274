import csv
import io
import random

import torch
import torch.nn as nn
from torch.nn import BCEWithLogitsLoss
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://github.com/lonePatient/Bert-Multi-Label-Text-Classification/issues/26'
CATEGORY = 'loss'
DESCRIPTION = 'Multi-label BERT on a csv of 15 label columns; the processor still returns the 6 labels of the toxic-comment task, so the head has 6 outputs.'

FIELDS = ['id', 'text', 'politics', 'economy', 'health', 'sport', 'culture', 'science', 'war', 'travel',
          'weather', 'crime', 'education', 'food', 'music', 'film', 'local']


def write_csv(n=24):
    rng = random.Random(0)
    f = io.StringIO()
    w = csv.writer(f)
    w.writerow(FIELDS)
    for i in range(n):
        text = ' '.join(rng.choice('alpha beta gamma delta eps zeta eta'.split()) for _ in range(rng.randint(4, 20)))
        w.writerow([i, text] + [rng.randint(0, 1) for _ in FIELDS[2:]])
    return f.getvalue()


class TaskData(object):
    def read_data(self, raw, is_train=True):
        targets, sentences = [], []
        reader = csv.reader(io.StringIO(raw))
        next(reader)
        for row in reader:
            targets.append([int(x) for x in row[2:]])
            sentences.append(row[1])
        return targets, sentences


class BertProcessor(object):
    def __init__(self, vocab_size=64):
        self.vocab_size = vocab_size

    def get_labels(self):
        """Gets the list of labels for this data set."""
        return ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]

    def tokenize(self, text):
        return [2 + sum(map(ord, w)) % (self.vocab_size - 2) for w in text.split()]

    def create_features(self, lines, max_seq_len):
        ids, masks, labels = [], [], []
        for target, sentence in zip(*lines):
            tokens = [1] + self.tokenize(sentence)[:max_seq_len - 1]
            pad = max_seq_len - len(tokens)
            ids.append(tokens + [0] * pad)
            masks.append([1] * len(tokens) + [0] * pad)
            labels.append(target)
        return TensorDataset(torch.tensor(ids), torch.tensor(masks), torch.tensor(labels))


class BertModel(nn.Module):
    def __init__(self, vocab_size, hidden_size=32):
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab_size, hidden_size, padding_idx=0)
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(hidden_size, 4, 64, dropout=0.0, batch_first=True), 2, enable_nested_tensor=False)
        self.pooler = nn.Sequential(nn.Linear(hidden_size, hidden_size), nn.Tanh())

    def forward(self, input_ids, attention_mask):
        x = self.encoder(self.word_embeddings(input_ids), src_key_padding_mask=attention_mask == 0)
        return x, self.pooler(x[:, 0])


class BertForMultiLable(nn.Module):
    def __init__(self, vocab_size, num_labels, hidden_size=32):
        super().__init__()
        self.bert = BertModel(vocab_size, hidden_size)
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Linear(hidden_size, num_labels)

    def forward(self, input_ids, attention_mask=None):
        _, pooled_output = self.bert(input_ids, attention_mask=attention_mask)
        return self.classifier(self.dropout(pooled_output))


class BCEWithLogLoss(object):
    def __init__(self):
        self.loss_fn = BCEWithLogitsLoss()

    def __call__(self, output, target):
        return self.loss_fn(input=output, target=target.float())


def build():
    torch.manual_seed(0)
    processor = BertProcessor()
    label_list = processor.get_labels()
    return BertForMultiLable(processor.vocab_size, num_labels=len(label_list))


def step(model):
    torch.manual_seed(1)
    data = TaskData()
    train_dataset = BertProcessor().create_features(data.read_data(write_csv()), max_seq_len=16)
    train_dataloader = DataLoader(train_dataset, batch_size=8, shuffle=True)
    criterion = BCEWithLogLoss()
    total = 0.0
    for input_ids, input_mask, label_ids in train_dataloader:
        logits = model(input_ids, input_mask)
        total = total + criterion(output=logits, target=label_ids)
    return total / len(train_dataloader)


# real fix: get_labels has to return the 15 labels of the own data, the head then gets 15 outputs
# offending tensor: logits (8, 6) against label_ids (8, 15)
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy_with_logits', culprits=['classifier'], dim=1, got=6, wanted=15,
             hint_any=['num_labels', 'number of labels', 'out_features', 'classes', 'get_labels', '15'])
MENDED = [('return ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]', 'return FIELDS[2:]')]
