import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/huggingface/transformers/issues/618'
CATEGORY = 'loss'
DESCRIPTION = 'GLUE script: the model makes two scores, the loop was given num_labels=1 ("the other follows from the first"): logits.view(-1, 1) has 2 rows a sample.'

PROCESSORS = {'qnli': ['entailment', 'not_entailment'], 'mnli': ['contradiction', 'entailment', 'neutral'], 'sts-b': [None]}
OUTPUT_MODE = {'qnli': 'classification', 'mnli': 'classification', 'sts-b': 'regression'}


class Layer(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.attention, self.norm1 = nn.MultiheadAttention(dim, heads, batch_first=True), nn.LayerNorm(dim)
        self.intermediate, self.output, self.norm2 = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim), nn.LayerNorm(dim)

    def forward(self, x, pad):
        x = self.norm1(x + self.attention(x, x, x, key_padding_mask=pad, need_weights=False)[0])
        return self.norm2(x + self.output(F.gelu(self.intermediate(x))))


class BertForSequenceClassification(nn.Module):
    def __init__(self, num_labels=2, vocab=150, dim=32, layers=2, max_len=40):
        super().__init__()
        self.word, self.position, self.segment = nn.Embedding(vocab, dim, padding_idx=0), nn.Embedding(max_len, dim), nn.Embedding(2, dim)
        self.layers = nn.ModuleList([Layer(dim, 4) for _ in range(layers)])
        self.pooler = nn.Sequential(nn.Linear(dim, dim), nn.Tanh())
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Linear(dim, num_labels)

    def forward(self, input_ids, segment_ids, input_mask):
        x = self.word(input_ids) + self.position.weight[:input_ids.size(1)] + self.segment(segment_ids)
        for layer in self.layers:
            x = layer(x, input_mask == 0)
        return self.classifier(self.dropout(self.pooler(x[:, 0])))


def features(n, task, max_len=24):
    ids, seg = torch.zeros(n, max_len, dtype=torch.long), torch.zeros(n, max_len, dtype=torch.long)
    for i in range(n):
        a, b = torch.randint(4, 10, (2,)).tolist()
        ids[i, :a + b] = torch.randint(1, 150, (a + b,))
        seg[i, a:a + b] = 1
    return ids, seg, (ids != 0).long(), torch.randint(0, len(PROCESSORS[task]), (n,))


def train(args, model, batches):
    num_labels, total = args['num_labels'], 0.
    for input_ids, segment_ids, input_mask, label_ids in batches:
        logits = model(input_ids, segment_ids, input_mask)
        if OUTPUT_MODE[args['task']] == 'classification':
            loss_fct = nn.CrossEntropyLoss()
            loss = loss_fct(logits.view(-1, num_labels), label_ids.view(-1))
        else:
            loss_fct = nn.MSELoss()
            loss = loss_fct(logits.view(-1), label_ids.view(-1).float())
        total = total + loss / args['gradient_accumulation_steps']
    return total


def build():
    return BertForSequenceClassification()


def step(model):
    args = dict(task='qnli', num_labels=1, gradient_accumulation_steps=2)
    return train(args, model, [features(8, args['task']) for _ in range(2)])


# real fix: num_labels=2
# offending tensor: logits (16, 1), (8, 2) expected
TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['function:view', 'classifier'], dim=0, got=16, wanted=8,
             hint_any=['view', 'num_labels', 'reshape', '-1', 'class'])
MENDED = [('num_labels=1, grad', 'num_labels=2, grad')]
