import torch
import torch.nn as nn

SOURCE = 'https://github.com/deepset-ai/FARM/issues/100'
CATEGORY = 'loss'
DESCRIPTION = 'Text classification with a prediction head: the processor delivers one-hot labels (8,4), the head flattens them with view(-1) to 32.'


class TextClassificationProcessor:
    def __init__(self, label_list, max_len=20, vocab=90, multilabel=True):
        self.label_list, self.max_len, self.vocab, self.multilabel = label_list, max_len, vocab, multilabel

    def featurize(self, label):
        n = int(torch.randint(5, self.max_len, (1,)))
        ids = torch.zeros(self.max_len, dtype=torch.long)
        ids[:n] = torch.randint(1, self.vocab, (n,))
        index = self.label_list.index(label)
        if self.multilabel:
            label_ids = [1 if i == index else 0 for i in range(len(self.label_list))]
        else:
            label_ids = [index]
        return dict(input_ids=ids, padding_mask=(ids != 0).long(), label_ids=torch.tensor(label_ids))

    def dataset(self, labels):
        rows = [self.featurize(x) for x in labels]
        return {k: torch.stack([r[k] for r in rows]) for k in rows[0]}


class LanguageModel(nn.Module):
    def __init__(self, vocab=90, dim=32, layers=2):
        super().__init__()
        self.embeddings = nn.Embedding(vocab, dim, padding_idx=0)
        self.position = nn.Parameter(torch.zeros(1, 64, dim))
        layer = nn.TransformerEncoderLayer(dim, 4, 64, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.pooler = nn.Sequential(nn.Linear(dim, dim), nn.Tanh())

    def forward(self, input_ids, padding_mask):
        x = self.embeddings(input_ids) + self.position[:, :input_ids.size(1)]
        return self.pooler(self.encoder(x, src_key_padding_mask=padding_mask == 0)[:, 0])


class TextClassificationHead(nn.Module):
    def __init__(self, layer_dims):
        super().__init__()
        self.feed_forward = nn.Sequential(*[nn.Linear(i, o) for i, o in zip(layer_dims[:-1], layer_dims[1:])])
        self.loss_fct = nn.CrossEntropyLoss(reduction='none')

    def forward(self, x):
        return self.feed_forward(x)

    def logits_to_loss(self, logits, label_ids):
        return self.loss_fct(logits, label_ids.view(-1))


class AdaptiveModel(nn.Module):
    def __init__(self, heads):
        super().__init__()
        self.language_model = LanguageModel()
        self.dropout = nn.Dropout(0.1)
        self.prediction_heads = nn.ModuleList(heads)

    def forward(self, input_ids, padding_mask, label_ids):
        pooled = self.dropout(self.language_model(input_ids, padding_mask))
        losses = [head.logits_to_loss(head(pooled), label_ids) for head in self.prediction_heads]
        return sum(loss.mean() for loss in losses)


LABELS = ['sport', 'politics', 'culture', 'economy']


def build():
    return AdaptiveModel([TextClassificationHead([32, len(LABELS)])])


def step(model):
    processor = TextClassificationProcessor(LABELS)
    batch = processor.dataset(['politics', 'culture', 'politics', 'economy', 'politics', 'culture', 'politics', 'sport'])
    return model(**batch)


# real fix: class indices from the processor (multilabel=False); one-hot labels belong to the multi-label head
# offending tensor: label_ids (32,), 8 expected
TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['target', 'input', 'function:view'], dim=0, got=32, wanted=8,
             hint_any=['one-hot', 'argmax', 'index', 'indices', 'view', 'label'])
MENDED = [('vocab=90, multilabel=True)', 'vocab=90, multilabel=False)')]
