import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/neuralmagic/sparseml/pull/1426'
CATEGORY = 'loss'
DESCRIPTION = 'Distillation for entity tagging with --distill_teacher set to a question answering model: its head gives 2 numbers per token, the student gives 9.'


class Config:
    vocab_size = 200
    hidden_size = 32
    num_attention_heads = 4
    num_hidden_layers = 2
    max_position_embeddings = 64
    num_labels = 9

    def __init__(self, **kwargs):
        for key, value in kwargs.items():
            setattr(self, key, value)


class BertModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        layer = nn.TransformerEncoderLayer(config.hidden_size, config.num_attention_heads, 4 * config.hidden_size, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, config.num_hidden_layers, enable_nested_tensor=False)

    def forward(self, input_ids):
        positions = torch.arange(input_ids.size(1))
        return self.encoder(self.word_embeddings(input_ids) + self.position_embeddings(positions))


class BertForTokenClassification(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.bert = BertModel(config)
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, input_ids):
        return self.classifier(self.dropout(self.bert(input_ids)))


class BertForQuestionAnswering(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.bert = BertModel(config)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)

    def forward(self, input_ids):
        return self.qa_outputs(self.bert(input_ids))


class DistillationModifier(nn.Module):
    def __init__(self, student, teacher, hardness=0.5, temperature=2.0):
        super().__init__()
        self.student = student
        self.teacher = teacher
        self.hardness = hardness
        self.temperature = temperature
        for p in self.teacher.parameters():
            p.requires_grad_(False)

    def calc_distill_loss(self, student_val, teacher_val):
        t = self.temperature
        return F.kl_div(F.log_softmax(student_val / t, dim=-1), F.softmax(teacher_val / t, dim=-1), reduction='sum') * (t ** 2) / (
            student_val.numel() / student_val.shape[-1])

    def forward(self, input_ids, labels):
        student_logits = self.student(input_ids)
        with torch.no_grad():
            teacher_logits = self.teacher(input_ids)
        loss = F.cross_entropy(student_logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
        return (1.0 - self.hardness) * loss + self.hardness * self.calc_distill_loss(student_logits, teacher_logits)


def build():
    config = Config(num_labels=9)
    return DistillationModifier(student=BertForTokenClassification(config), teacher=BertForQuestionAnswering(Config(num_hidden_layers=3)))


def step(model):
    input_ids = torch.randint(0, 200, (8, 20))
    labels = torch.randint(0, 9, (8, 20))
    labels[:, 16:] = -100
    return model(input_ids, labels)


TRUTH = dict(raises='RuntimeError', at='loss:kl_div', culprits=['teacher.qa_outputs', 'teacher'], dim=2, got=2, wanted=9,
             hint_any=['teacher', '9', 'student', 'qa_outputs'])
MENDED = [('teacher=BertForQuestionAnswering(', 'teacher=BertForTokenClassification(')]
