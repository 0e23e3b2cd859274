import torch
import torch.nn as nn
from torch.utils.data import Dataset, DataLoader

SOURCE = 'https://github.com/curiousily/Getting-Things-Done-with-Pytorch/issues/15'
CATEGORY = 'loss'
DESCRIPTION = 'Toxic comment tutorial on a table with one class column 0..9: the tagger has ten outputs and BCELoss, the labels are one number a comment.'

CLASSES = ['c%d' % i for i in range(10)]
MAX_TOKEN_COUNT, BATCH_SIZE = 32, 16


class ToxicCommentsDataset(Dataset):
    def __init__(self, n, vocab=300):
        g = torch.Generator().manual_seed(1)
        self.rows = [dict(ids=torch.randint(1, vocab, (MAX_TOKEN_COUNT,), generator=g),
                          length=int(torch.randint(5, MAX_TOKEN_COUNT + 1, (1,), generator=g)),
                          category=int(torch.randint(0, 10, (1,), generator=g))) for _ in range(n)]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        data_row = self.rows[index]
        mask = (torch.arange(MAX_TOKEN_COUNT) < data_row['length']).long()
        labels = data_row['category']
        return dict(input_ids=data_row['ids'] * mask, attention_mask=mask, labels=torch.tensor(labels).float())


class Encoder(nn.Module):
    def __init__(self, vocab=300, hidden_size=32):
        super().__init__()
        self.embeddings = nn.Embedding(vocab, hidden_size, padding_idx=0)
        self.layer = nn.ModuleList([nn.TransformerEncoderLayer(hidden_size, 4, 64, batch_first=True) for _ in range(2)])
        self.pooler = nn.Linear(hidden_size, hidden_size)

    def forward(self, input_ids, attention_mask):
        x = self.embeddings(input_ids)
        for block in self.layer:
            x = block(x, src_key_padding_mask=attention_mask == 0)
        return torch.tanh(self.pooler(x[:, 0]))


class ToxicCommentTagger(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.bert = Encoder()
        self.classifier = nn.Linear(32, n_classes)
        self.criterion = nn.BCELoss()

    def forward(self, input_ids, attention_mask, labels=None):
        output = self.bert(input_ids, attention_mask=attention_mask)
        output = self.classifier(output)
        output = torch.sigmoid(output)
        loss = 0
        if labels is not None:
            loss = self.criterion(output, labels)
        return loss, output

    def training_step(self, batch, batch_idx):
        loss, outputs = self(batch['input_ids'], batch['attention_mask'], batch['labels'])
        return {'loss': loss, 'predictions': outputs, 'labels': batch['labels']}


def build():
    torch.manual_seed(0)
    return ToxicCommentTagger(n_classes=len(CLASSES))


def step(model):
    loader = DataLoader(ToxicCommentsDataset(BATCH_SIZE), batch_size=BATCH_SIZE, shuffle=False)
    return model.training_step(next(iter(loader)), 0)['loss']


# real fix: one column for each class, as in the tutorial's table (or cross entropy for a single class)
# offending tensor: target (16,)
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy', culprits=['target', 'criterion'],
             dim=1, got=None, wanted=10, hint_any=['one-hot', 'one_hot', 'cross_entropy', 'crossentropy', '(16, 10)'])
MENDED = [("labels = data_row['category']", "labels = [float(i == data_row['category']) for i in range(10)]")]
