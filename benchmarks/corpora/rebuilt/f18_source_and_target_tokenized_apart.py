import torch
import torch.nn as nn

SOURCE = 'https://github.com/gitabtion/BertBasedCorrectionModels/issues/19'
CATEGORY = 'loss'
DESCRIPTION = 'Spelling correction: wrong and correct text are tokenised apart; a misspelt Latin word falls into more word pieces, so inputs and labels differ in length.'

VOCAB = {t: i for i, t in enumerate(['[PAD]', '[UNK]', '[CLS]', '[SEP]'] + [chr(c) for c in range(0x4e00, 0x4e60)]
                                     + ['video', 'music', 'vi', 'vid', 'deo', '##d', '##o', '##e', '##i', '##ic', '##us', 'm', 'v'])}


class Tokenizer:
    pad_token_id = 0

    def wordpiece(self, word):
        pieces, start = [], 0
        while start < len(word):
            end = len(word)
            while end > start and ('##' * (start > 0) + word[start:end]) not in VOCAB:
                end -= 1
            if end == start:
                return ['[UNK]']
            pieces.append('##' * (start > 0) + word[start:end])
            start = end
        return pieces

    def tokenize(self, text):
        tokens, word = [], ''
        for ch in text + ' ':
            if ch.isascii() and ch.isalpha():
                word += ch
                continue
            if word:
                tokens += self.wordpiece(word)
                word = ''
            if ch != ' ':
                tokens.append(ch if ch in VOCAB else '[UNK]')
        return tokens

    def __call__(self, texts, padding=True):
        ids = [[2] + [VOCAB[t] for t in self.tokenize(text)] + [3] for text in texts]
        longest = max(map(len, ids))
        input_ids = torch.tensor([i + [0] * (longest - len(i)) for i in ids])
        return {'input_ids': input_ids, 'attention_mask': (input_ids != 0).long()}


class DataCollator:
    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def __call__(self, data):
        ori_texts, cor_texts, wrong_idss = zip(*data)
        encoded_texts = [self.tokenizer.tokenize(t) for t in ori_texts]
        max_len = max(len(t) for t in encoded_texts) + 2
        det_labels = torch.zeros(len(ori_texts), max_len).long()
        for i, wrong_ids in enumerate(wrong_idss):
            for idx in wrong_ids:
                if idx + 1 < max_len:
                    det_labels[i, idx + 1] = 1
        return ori_texts, cor_texts, det_labels


class DetectionNetwork(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.gru = nn.GRU(hidden, hidden // 2, num_layers=2, batch_first=True, dropout=0.1, bidirectional=True)
        self.linear = nn.Linear(hidden, 1)

    def forward(self, x):
        return torch.sigmoid(self.linear(self.gru(x)[0]))


class SoftMaskedBertModel(nn.Module):
    def __init__(self, tokenizer, hidden=48):
        super().__init__()
        self.tokenizer = tokenizer
        self.embeddings = nn.Embedding(len(VOCAB), hidden, padding_idx=0)
        self.position = nn.Embedding(64, hidden)
        self.mask_embed = nn.Parameter(torch.randn(hidden) * 0.02)
        self.detector = DetectionNetwork(hidden)
        self.corrector = nn.TransformerEncoderLayer(hidden, 4, 96, 0.1, 'gelu', batch_first=True)
        self.norm = nn.LayerNorm(hidden)
        self.cls = nn.Linear(hidden, len(VOCAB))

    def forward(self, texts, cor_labels=None, det_labels=None):
        if cor_labels is not None:
            text_labels = self.tokenizer(cor_labels, padding=True)['input_ids']
            text_labels[text_labels == 0] = -100
        encoded = self.tokenizer(texts, padding=True)
        embed = self.embeddings(encoded['input_ids']) + self.position.weight[:encoded['input_ids'].size(1)]
        prob = self.detector(embed)
        soft = prob * self.mask_embed + (1 - prob) * embed
        out = self.corrector(soft, src_key_padding_mask=encoded['attention_mask'] == 0)
        logits = self.cls(self.norm(out + embed))
        if cor_labels is None:
            return prob, logits
        det_loss_fct, cor_loss_fct = nn.BCELoss(), nn.CrossEntropyLoss()
        active = encoded['attention_mask'].view(-1, prob.shape[1]) == 1
        det_loss = det_loss_fct(prob.view(-1, prob.shape[1])[active], det_labels[active].float())
        cor_loss = cor_loss_fct(logits.view(-1, logits.shape[-1]), text_labels.view(-1))
        return det_loss, cor_loss


def build():
    return SoftMaskedBertModel(Tokenizer())


def zh(*codes):
    return ''.join(chr(0x4e00 + c) for c in codes)


def step(model):
    data = [(zh(3, 7, 11, 20, 5), zh(3, 7, 12, 20, 5), [2]), (zh(40, 41), zh(40, 42), [1]),
            (zh(9, 9, 30, 2) + ' vido ' + zh(8, 6), zh(9, 9, 30, 2) + ' video ' + zh(8, 6), [4]), (zh(61, 13, 2, 2, 17, 21), zh(61, 13, 2, 2, 17, 22), [5])]
    ori_texts, cor_texts, det_labels = DataCollator(model.tokenizer)(data)
    det_loss, cor_loss = model(list(ori_texts), list(cor_texts), det_labels)
    return 0.3 * det_loss + 0.7 * cor_loss


# real fix: samples with Latin words are left out (source and target have to be the same tokens long)
# offending tensor: text_labels (4, 9) of the correct texts, the logits are (4, 10, V) from the misspelt ones
TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['target', 'input'], dim=None, got=None, wanted=None,
             hint_any=['length', 'label', 'token', 'pad'])
MENDED = [("DataCollator(model.tokenizer)(data)", "DataCollator(model.tokenizer)([d for d in data if not any(c.isascii() for c in d[0])])")]
