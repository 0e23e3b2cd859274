import random

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/coaxsoft/pytorch_bert/issues/1'
CATEGORY = 'silent'
DESCRIPTION = 'BERT pretraining on film reviews: masked words and next sentence, two losses in one step.'

CLS, PAD, MASK, SEP, UNK = range(5)
VOCAB = 80


class ReviewBertDataset(Dataset):
    MASK_PERCENTAGE = 0.15

    def __init__(self, pairs, sentence_length=14):
        self.optimal_sentence_length = sentence_length
        self.items = [self._create_item(first, second, target) for first, second, target in pairs]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, idx):
        masked, original, inverse_token_mask, is_next = self.items[idx]
        inp = torch.tensor(masked)
        token_mask = torch.tensor(inverse_token_mask)
        mask_target = torch.tensor(original).masked_fill(token_mask, 0)
        nsp_target = torch.tensor([1., 0.] if is_next == 0 else [0., 1.])
        return inp, inp == PAD, token_mask, mask_target, nsp_target

    def _create_item(self, first, second, target):
        updated_first, first_mask = self._preprocess_sentence(first.copy())
        updated_second, second_mask = self._preprocess_sentence(second.copy())
        masked = updated_first + [SEP] + updated_second
        inverse_token_mask = first_mask + [True] + second_mask

        first, _ = self._preprocess_sentence(first.copy(), should_mask=False)
        second, _ = self._preprocess_sentence(second.copy(), should_mask=False)
        return masked, first + [SEP] + second, inverse_token_mask, target

    def _preprocess_sentence(self, sentence, should_mask=True):
        inverse_token_mask = None
        if should_mask:
            sentence, inverse_token_mask = self._mask_sentence(sentence)
        return self._pad_sentence([CLS] + sentence, inverse_token_mask)

    def _mask_sentence(self, sentence):
        len_s = len(sentence)
        inverse_token_mask = [True for _ in range(max(len_s, self.optimal_sentence_length))]
        for _ in range(max(1, round(len_s * self.MASK_PERCENTAGE))):
            i = random.randint(0, len_s - 1)
            sentence[i] = MASK if random.random() < 0.8 else random.randint(5, VOCAB - 1)
            inverse_token_mask[i] = False
        return sentence, inverse_token_mask

    def _pad_sentence(self, sentence, inverse_token_mask=None):
        n = self.optimal_sentence_length
        s = sentence[:n] + [PAD] * (n - len(sentence))
        if inverse_token_mask:
            inverse_token_mask = inverse_token_mask[:n] + [True] * (n - len(inverse_token_mask))
        return s, inverse_token_mask


class BERT(nn.Module):
    def __init__(self, dim=32, heads=4, positions=29):
        super().__init__()
        self.token = nn.Embedding(VOCAB, dim)
        self.position = nn.Embedding(positions, dim)
        layer = nn.TransformerEncoderLayer(dim, heads, 2 * dim, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.token_prediction_layer = nn.Linear(dim, VOCAB)
        self.classification_layer = nn.Linear(dim, 2)

    def forward(self, inp, padding):
        x = self.token(inp) + self.position.weight[:inp.shape[1]]
        encoded = self.encoder(x, src_key_padding_mask=padding)
        return self.token_prediction_layer(encoded).log_softmax(-1), self.classification_layer(encoded[:, 0])


def review_pairs(count):
    def sentence():
        return [random.randint(5, VOCAB - 1) for _ in range(random.randint(7, 12))]
    return [(sentence(), sentence(), i % 2) for i in range(count)]


def build():
    return BERT()


def step(model):
    loader = DataLoader(ReviewBertDataset(review_pairs(36)), batch_size=12)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005, weight_decay=0.015)
    criterion = nn.BCEWithLogitsLoss()
    ml_criterion = nn.NLLLoss(ignore_index=0)
    model.train()
    for inp, padding, inverse_token_mask, token_target, nsp_target in loader:
        optimizer.zero_grad()
        token, nsp = model(inp, padding)
        tm = inverse_token_mask.unsqueeze(-1).expand_as(token)
        token = token.masked_fill(tm, 0)
        loss = ml_criterion(token.transpose(1, 2), token_target) + criterion(nsp, nsp_target)
        loss.backward()
        optimizer.step()
    return loss.detach()


# [CLS] is put in front of the sentence and not of its mask, so the mask points at the word before the masked one
# (a visible word is predicted); real fix: pad the inverse mask by one True for [CLS]
TRUTH = dict(raises=None, at='loss:nll_loss', culprits=['input', 'target'], dim=1, got=None, wanted=None,
             hint_any=['shift', 'cls', 'align', 'off by one', 'one position', 'token mask', 'token_mask', 'mask'])
MENDED = [('        return self._pad_sentence([CLS] + sentence, inverse_token_mask)',
           '        return self._pad_sentence([CLS] + sentence, [True] + inverse_token_mask if should_mask else None)')]
