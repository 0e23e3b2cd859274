import torch
import torch.nn as nn

SOURCE = 'https://github.com/manikanthp/LayoutLMV3_Fine_Tuning/issues/5'
CATEGORY = 'loss'
DESCRIPTION = ('LayoutLM for own documents with five labels: the head has five outputs, the loss helper still does '
               'pred.view(-1, 4), so 4*20 tokens become 100 rows.')

LABELS = ['O', 'INVOICE_NO', 'DATE', 'TOTAL', 'VENDOR']


class DataLoad(torch.utils.data.Dataset):
    def __init__(self, pages=8, max_len=20):
        g = torch.Generator().manual_seed(0)
        self.pages = [dict(input_ids=torch.randint(4, 200, (max_len,), generator=g),
                           bbox=torch.randint(0, 100, (max_len, 4), generator=g),
                           attention_mask=(torch.arange(max_len) < 12 + n).long(),
                           labels=torch.randint(0, len(LABELS), (max_len,), generator=g)) for n in range(pages)]

    def __len__(self):
        return len(self.pages)

    def __getitem__(self, i):
        return self.pages[i]


class LayoutEmbeddings(nn.Module):
    def __init__(self, vocab, hidden, max_2d=128, max_len=64):
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab, hidden)
        self.position_embeddings = nn.Embedding(max_len, hidden)
        self.x_position_embeddings = nn.Embedding(max_2d, hidden)
        self.y_position_embeddings = nn.Embedding(max_2d, hidden)
        self.LayerNorm = nn.LayerNorm(hidden)

    def forward(self, input_ids, bbox):
        pos = torch.arange(input_ids.size(1)).expand_as(input_ids)
        x = self.word_embeddings(input_ids) + self.position_embeddings(pos)
        for corner in (0, 2):
            x = x + self.x_position_embeddings(bbox[..., corner]) + self.y_position_embeddings(bbox[..., corner + 1])
        return self.LayerNorm(x)


class ModelModule(nn.Module):
    def __init__(self, n_classes, hidden=32, heads=4):
        super().__init__()
        self.embeddings = LayoutEmbeddings(200, hidden)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(hidden, heads, 64, batch_first=True), 2)
        self.dropout = nn.Dropout(0.1)
        self.cls_layer = nn.Linear(hidden, n_classes)

    def loss_fn(self, pred, target):
        return nn.CrossEntropyLoss()(pred.view(-1, 4), target.view(-1))

    def forward(self, input_ids, bbox, attention_mask, labels):
        x = self.embeddings(input_ids, bbox)
        x = self.encoder(x, src_key_padding_mask=attention_mask == 0)
        output = self.cls_layer(self.dropout(x))
        return output, self.loss_fn(output, labels)


def build():
    return ModelModule(len(LABELS))


def step(model):
    loader = torch.utils.data.DataLoader(DataLoad(), batch_size=4)
    data = next(iter(loader))
    _, loss = model(**data)
    return loss


# 4 * 20 * 5 = 400 scores cut into rows of four
TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['function:view'], dim=1, got=4, wanted=5,
             hint_any=['view', 'classes', 'cls_layer', 'size(-1)'])
MENDED = [('pred.view(-1, 4)', 'pred.view(-1, pred.size(-1))')]
