import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn import MSELoss
from transformers import BertConfig, BertModel

SOURCE = 'https://github.com/huawei-noah/Pretrained-Language-Model/issues/125'
CATEGORY = 'loss'
DESCRIPTION = 'TinyBERT distillation from BERT-large: attention maps of 12 student heads are compared with those of 16 teacher heads.'

ARGS = dict(alpha=0.5, att_weight=1.0, rep_weight=1.0, use_att=True, max_seq_length=16, train_batch_size=4)
loss_mse = MSELoss()


def config(name):
    common = dict(vocab_size=200, max_position_embeddings=32, attn_implementation='eager', output_attentions=True, output_hidden_states=True)
    sizes = {'bert-large-uncased': dict(hidden_size=64, num_hidden_layers=8, num_attention_heads=16, intermediate_size=128),
             'TinyBERT_4L': dict(hidden_size=24, num_hidden_layers=4, num_attention_heads=12, intermediate_size=48)}[name]
    return BertConfig(**common, **sizes)


class TinyBertForPreTraining(nn.Module):
    def __init__(self, cfg, fit_size=None):
        super().__init__()
        self.bert = BertModel(cfg, add_pooling_layer=False)
        self.cls = nn.Linear(cfg.hidden_size, cfg.vocab_size)
        self.fit_dense = nn.Linear(cfg.hidden_size, fit_size) if fit_size else None

    def forward(self, input_ids, attention_mask, is_student=False):
        out = self.bert(input_ids, attention_mask=attention_mask)
        sequence_output = list(out.hidden_states)
        if is_student:
            sequence_output = [self.fit_dense(h) for h in sequence_output]
        return out.attentions, sequence_output, self.cls(out.last_hidden_state)


class Distiller(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.args = args
        teacher_config = config('bert-large-uncased')
        self.teacher_model = TinyBertForPreTraining(teacher_config).requires_grad_(False).eval()
        self.student_model = TinyBertForPreTraining(config('TinyBERT_4L'), fit_size=teacher_config.hidden_size)

    def layer_losses(self, student, teacher):
        student_atts, student_reps, _ = student
        teacher_atts, teacher_reps, _ = teacher
        att_loss, rep_loss = 0., 0.
        every = len(teacher_atts) // len(student_atts)
        new_teacher_atts = [teacher_atts[i * every + every - 1] for i in range(len(student_atts))]
        new_teacher_reps = [teacher_reps[i * every] for i in range(len(student_atts) + 1)]
        for student_rep, teacher_rep in zip(student_reps, new_teacher_reps):
            rep_loss = rep_loss + loss_mse(student_rep, teacher_rep)
        if self.args['use_att']:
            for student_att, teacher_att in zip(student_atts, new_teacher_atts):
                student_att = torch.where(student_att <= -1e2, torch.zeros_like(student_att), student_att)
                teacher_att = torch.where(teacher_att <= -1e2, torch.zeros_like(teacher_att), teacher_att)
                att_loss = att_loss + loss_mse(student_att, teacher_att)
        return att_loss, rep_loss

    def forward(self, input_ids, input_mask, lm_label_ids):
        student = self.student_model(input_ids, input_mask, is_student=True)
        with torch.no_grad():
            teacher = self.teacher_model(input_ids, input_mask)
        att_loss, rep_loss = self.layer_losses(student, teacher)
        mlm = F.cross_entropy(student[2].transpose(1, 2), lm_label_ids, ignore_index=-1)
        return self.args['att_weight'] * att_loss + self.args['rep_weight'] * rep_loss + self.args['alpha'] * mlm


def build():
    return Distiller(ARGS)


def step(model):
    b, t = ARGS['train_batch_size'], ARGS['max_seq_length']
    input_ids = torch.randint(5, 200, (b, t))
    input_mask = (torch.arange(t)[None] < torch.tensor([16, 13, 9, 11])[:, None]).long()
    labels = torch.where((torch.rand(b, t) < 0.3) & input_mask.bool(), input_ids, torch.full_like(input_ids, -1))
    return model(input_ids.masked_fill(input_mask == 0, 0), input_mask, labels)


# real fix: distil without the attention maps (use_att=False), or a student and a teacher with as many heads
# offending tensor: student_att (4, 12, 16, 16), teacher_att (4, 16, 16, 16)
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss',
             culprits=['student_model.bert', 'teacher_model.bert', 'student_model', 'teacher_model', 'target', 'function:view', '',
                       'student_model.bert.encoder.layer.0.attention.self', 'teacher_model.bert.encoder.layer.1.attention.self'],
             dim=1, got=12, wanted=16, hint_any=['head', '16', 'num_attention_heads', 'mean('])
MENDED = [('use_att=True', 'use_att=False')]
