import torch
import torch.nn as nn
import torch.nn.functional as F
from types import SimpleNamespace

SOURCE = 'https://github.com/zjunlp/HVPNeT/issues/5'
CATEGORY = 'silent'
DESCRIPTION = 'The third parameter group (crf and fc) is collected but never appended to the list that AdamW is given.'


class CRF(nn.Module):
    def __init__(self, num_tags):
        super().__init__()
        self.start_transitions = nn.Parameter(torch.empty(num_tags).uniform_(-0.1, 0.1))
        self.end_transitions = nn.Parameter(torch.empty(num_tags).uniform_(-0.1, 0.1))
        self.transitions = nn.Parameter(torch.empty(num_tags, num_tags).uniform_(-0.1, 0.1))

    def forward(self, emissions, tags, mask):
        score = self.start_transitions[tags[:, 0]] + emissions[:, 0].gather(1, tags[:, :1]).squeeze(1)
        total = self.start_transitions + emissions[:, 0]
        for i in range(1, emissions.size(1)):
            emit = emissions[:, i].gather(1, tags[:, i:i + 1]).squeeze(1)
            score = score + (self.transitions[tags[:, i - 1], tags[:, i]] + emit) * mask[:, i]
            nxt = torch.logsumexp(total.unsqueeze(2) + self.transitions + emissions[:, i].unsqueeze(1), dim=1)
            total = torch.where(mask[:, i].unsqueeze(1).bool(), nxt, total)
        last = tags.gather(1, (mask.sum(1) - 1).long().unsqueeze(1)).squeeze(1)
        score = score + self.end_transitions[last]
        return (score - torch.logsumexp(total + self.end_transitions, dim=1)).mean()


class ImageModel(nn.Module):
    def __init__(self, width=12):
        super().__init__()
        self.resnet = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 2, 1), nn.ReLU())

    def forward(self, x):
        return F.adaptive_avg_pool2d(self.resnet(x), 2).flatten(2).transpose(1, 2)      # bsz, 4, width


class BertModel(nn.Module):
    def __init__(self, vocab, hidden, layers):
        super().__init__()
        self.embeddings = nn.Embedding(vocab, hidden)
        self.encoder = nn.ModuleList([nn.MultiheadAttention(hidden, 4, batch_first=True) for _ in range(layers)])
        self.norm = nn.ModuleList([nn.LayerNorm(hidden) for _ in range(layers)])

    def forward(self, input_ids, attention_mask, prompt_guids):
        h = self.embeddings(input_ids)
        pad = torch.cat([torch.zeros(len(h), prompt_guids[0].size(1)), 1 - attention_mask], dim=1).bool()
        for attn, norm, guide in zip(self.encoder, self.norm, prompt_guids):
            kv = torch.cat([guide, h], dim=1)
            h = norm(h + attn(h, kv, kv, key_padding_mask=pad, need_weights=False)[0])
        return h


class HMNeTNERModel(nn.Module):
    def __init__(self, num_labels=7, hidden=16, layers=2):
        super().__init__()
        self.bert = BertModel(50, hidden, layers)
        self.image_model = ImageModel()
        self.encoder_conv = nn.Sequential(nn.Linear(12, 20), nn.Tanh(), nn.Linear(20, hidden))
        self.gates = nn.ModuleList([nn.Linear(hidden, 4) for _ in range(layers)])
        self.crf = CRF(num_labels)
        self.fc = nn.Linear(hidden, num_labels)
        self.dropout = nn.Dropout(0.1)

    def forward(self, input_ids, attention_mask, labels, images):
        guides = self.encoder_conv(self.image_model(images))
        result = []
        for gate in self.gates:
            g = F.softmax(F.leaky_relu(gate(guides.mean(1))), dim=-1)
            result.append(guides * g.unsqueeze(-1))
        emissions = self.fc(self.dropout(self.bert(input_ids, attention_mask, result)))
        return -1 * self.crf(emissions, labels, mask=attention_mask)


def before_multimodal_train(model, args):
    parameters = []
    params = {'lr': args.lr, 'weight_decay': 1e-2}
    params['params'] = []
    for name, param in model.named_parameters():
        if 'bert' in name:
            params['params'].append(param)
    parameters.append(params)

    params = {'lr': args.lr, 'weight_decay': 1e-2}
    params['params'] = []
    for name, param in model.named_parameters():
        if 'encoder_conv' in name or 'gates' in name:
            params['params'].append(param)
    parameters.append(params)

    # crf lr
    params = {'lr': 5e-2, 'weight_decay': 1e-2}
    params['params'] = []
    for name, param in model.named_parameters():
        if 'crf' in name or name.startswith('fc'):
            params['params'].append(param)

    # freeze resnet
    for name, par in model.named_parameters():
        if 'image_model' in name:
            par.requires_grad = False
    return torch.optim.AdamW(parameters)


def build():
    return HMNeTNERModel()


def step(model):
    args = SimpleNamespace(lr=3e-5, num_epochs=3)
    optimizer = before_multimodal_train(model, args)
    ids, labels = torch.randint(1, 50, (4, 9)), torch.randint(0, 7, (4, 9))
    mask = (torch.arange(9) < torch.tensor([[9], [6], [7], [4]])).float()
    images = torch.randn(4, 3, 16, 16)
    model.train()
    for _ in range(args.num_epochs):
        optimizer.zero_grad()
        loss = model(ids, mask, labels, images)
        loss.backward()
        optimizer.step()
    return loss.detach()


# real fix: parameters.append(params) after the loop over crf and fc
TRUTH = dict(raises=None, at='module:fc', culprits=['fc', 'crf'], dim=None, got=None, wanted=None,
             hint_any=['optimizer', 'parameters', 'never', 'updated'])
MENDED = [("    # freeze resnet\n", "    parameters.append(params)\n    # freeze resnet\n")]
