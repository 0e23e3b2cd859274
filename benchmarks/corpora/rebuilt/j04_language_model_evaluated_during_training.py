import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/ThilinaRajapakse/simpletransformers/issues/941'
CATEGORY = 'silent'
DESCRIPTION = 'Masked language model with evaluate_during_training: after the evaluation the training goes on in eval mode, without dropout, because model.train() is called before the loop only.'


class Embeddings(nn.Module):
    def __init__(self, vocab, width, length):
        super().__init__()
        self.word = nn.Embedding(vocab, width)
        self.position = nn.Embedding(length, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, ids):
        return self.dropout(self.norm(self.word(ids) + self.position.weight[:ids.size(1)]))


class BertForMaskedLM(nn.Module):
    def __init__(self, vocab=80, width=32, length=16):
        super().__init__()
        self.embeddings = Embeddings(vocab, width, length)
        layer = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.cls = nn.Linear(width, vocab)

    def forward(self, ids, labels):
        logits = self.cls(self.encoder(self.embeddings(ids)))
        return F.cross_entropy(logits.view(-1, logits.size(-1)), labels.view(-1), ignore_index=-100)


class LanguageModelingModel:
    def __init__(self, model, args):
        self.model = model
        self.args = args

    def mask_tokens(self, inputs):
        labels = inputs.clone()
        masked = torch.rand(inputs.shape) < 0.3
        masked[:, 0] = True
        labels[~masked] = -100
        inputs = inputs.masked_fill(masked, self.args['mask_token_id'])
        return inputs, labels

    def evaluate(self, eval_dataloader):
        model = self.model
        eval_loss = 0.0
        model.eval()
        for batch in eval_dataloader:
            inputs, labels = self.mask_tokens(batch)
            with torch.no_grad():
                eval_loss += model(inputs, labels).item()
        return eval_loss / len(eval_dataloader)

    def train(self, train_dataloader, eval_dataloader):
        model, args = self.model, self.args
        optimizer = torch.optim.AdamW(model.parameters(), lr=args['learning_rate'])
        global_step, history = 0, []
        model.train()
        for epoch in range(args['num_train_epochs']):
            for batch in train_dataloader:
                inputs, labels = self.mask_tokens(batch)
                loss = model(inputs, labels)
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), args['max_grad_norm'])
                optimizer.step()
                model.zero_grad()
                global_step += 1
                if args['evaluate_during_training'] and global_step % args['evaluate_during_training_steps'] == 0:
                    history.append(self.evaluate(eval_dataloader))
        return loss, history


def build():
    return BertForMaskedLM()


def step(model):
    args = dict(learning_rate=1e-3, num_train_epochs=2, max_grad_norm=1.0, mask_token_id=79, evaluate_during_training=True,
                evaluate_during_training_steps=2)
    batches = torch.randint(0, 79, (2, 4, 16))
    loss, _ = LanguageModelingModel(model, args).train(batches, torch.randint(0, 79, (1, 4, 16)))
    return loss.detach()


# fix: model.train() after the evaluation (or at the head of every epoch)
TRUTH = dict(raises=None, at='module:embeddings.dropout', 
             culprits=['', 'embeddings.dropout', 'encoder.layers.0.dropout', 'encoder.layers.0.dropout1', 'encoder.layers.0.dropout2',
                       'encoder.layers.1.dropout', 'encoder.layers.1.dropout1', 'encoder.layers.1.dropout2', 'function:eval'],
             dim=None, got=None, wanted=None, hint_any=['eval', 'train()', 'mode', 'dropout'])
MENDED = [('                    history.append(self.evaluate(eval_dataloader))', '                    history.append(self.evaluate(eval_dataloader))\n                    model.train()')]
