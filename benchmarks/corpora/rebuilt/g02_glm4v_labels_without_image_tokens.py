from dataclasses import dataclass

import torch
import torch.nn as nn

SOURCE = 'https://github.com/zai-org/GLM-4/issues/291'
CATEGORY = 'loss'
DESCRIPTION = 'GLM-4V finetuning: the placeholder between <boi> and <eoi> is replaced by the image patches inside the model, the labels keep the length of the prompt.'


@dataclass
class ChatGLMConfig:
    padded_vocab_size: int = 90
    hidden_size: int = 24
    num_layers: int = 2
    num_attention_heads: int = 3
    image_size: int = 24
    patch_size: int = 8
    boi_token_id: int = 80
    eoi_token_id: int = 81


class EVA2CLIPModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.proj = nn.Conv2d(3, 16, config.patch_size, config.patch_size)
        self.linear_proj = nn.Linear(16, config.hidden_size)
        self.boi = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.eoi = nn.Parameter(torch.zeros(1, 1, config.hidden_size))

    def forward(self, images):
        x = self.linear_proj(self.proj(images).flatten(2).transpose(1, 2))
        boi = self.boi.expand(x.shape[0], -1, -1)
        eoi = self.eoi.expand(x.shape[0], -1, -1)
        return torch.cat((boi, x, eoi), dim=1)


class ChatGLMModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.padded_vocab_size, config.hidden_size)
        layer = nn.TransformerEncoderLayer(config.hidden_size, config.num_attention_heads, 48, dropout=0., batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, config.num_layers, enable_nested_tensor=False)
        self.vision = EVA2CLIPModel(config)
        self.output_layer = nn.Linear(config.hidden_size, config.padded_vocab_size, bias=False)

    def forward(self, input_ids, images=None):
        inputs_embeds = self.embedding(input_ids)
        if images is not None:
            images_features = self.vision(images)
            new_input_embeds = []
            for i in range(len(input_ids)):
                input_id = input_ids[i].tolist()
                boi_token_pos, eoi_token_pos = input_id.index(self.config.boi_token_id), input_id.index(self.config.eoi_token_id)
                assert eoi_token_pos - boi_token_pos == 2
                new_input_embeds.append(torch.cat(
                    (inputs_embeds[i, :boi_token_pos], images_features[i], inputs_embeds[i, eoi_token_pos + 1:])))
            inputs_embeds = torch.stack(new_input_embeds, dim=0)
        mask = nn.Transformer.generate_square_subsequent_mask(inputs_embeds.shape[1])
        return self.encoder(inputs_embeds, mask=mask)


class ChatGLMForConditionalGeneration(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.transformer = ChatGLMModel(config)
        self.loss_fct = nn.CrossEntropyLoss(ignore_index=-100)

    def forward(self, input_ids, images=None, labels=None):
        hidden_states = self.transformer(input_ids, images)
        lm_logits = self.transformer.output_layer(hidden_states)
        if labels is None:
            return lm_logits
        shift_logits = lm_logits[..., :-1, :].contiguous()
        shift_labels = labels[..., 1:].contiguous()
        return self.loss_fct(shift_logits.view(-1, shift_logits.size(-1)), shift_labels.view(-1))


def process_batch(config, batch=2, prompt=6, answer=10):
    input_ids, labels = [], []
    for _ in range(batch):
        question = torch.randint(0, 80, (prompt,)).tolist()
        reply = torch.randint(0, 80, (answer,)).tolist()
        ids = question[:2] + [config.boi_token_id, 89, config.eoi_token_id] + question[2:]
        input_ids.append(ids + reply)
        labels.append([-100] * len(ids) + reply)
    return dict(input_ids=torch.tensor(input_ids), labels=torch.tensor(labels), images=torch.randn(batch, 3, config.image_size, config.image_size))


def build():
    return ChatGLMForConditionalGeneration(ChatGLMConfig())


def step(model):
    return model(**process_batch(model.config))


# real fix (later modeling_chatglm.py): the labels are stretched by -100 for every patch, as the embeddings are
# 2 x (19 + 8 - 1) = 52 rows of logits, 2 x 18 = 36 labels
TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['target', 'function:cat'], dim=0, got=36, wanted=52,
             hint_any=['label', 'target', 'cat', '52', '36', 'patch'])
MENDED = [('        shift_logits = lm_logits[..., :-1, :].contiguous()\n',
           '        if images is not None:\n'
           '            p = (input_ids[0] == self.config.boi_token_id).nonzero().item()\n'
           '            extra = lm_logits.shape[1] - labels.shape[1]\n'
           '            labels = torch.cat((labels[:, :p + 1], labels.new_full((labels.shape[0], extra), -100), labels[:, p + 1:]), dim=1)\n'
           '        shift_logits = lm_logits[..., :-1, :].contiguous()\n')]
