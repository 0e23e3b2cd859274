import math
import torch
import torch.nn as nn

SOURCE = 'https://github.com/nbertagnolli/pytorch-simple-gan/issues/1 (repaired in pull request 3)'
CATEGORY = 'loss'
DESCRIPTION = 'GAN that makes even binary numbers: the labels are a plain list of 16 ones, the discriminator gives (16, 1) and BCELoss refuses. It starts with the generator step.'


def create_binary_list_from_int(number):
    return [int(x) for x in list(bin(number))[2:]]


def generate_even_data(max_int, batch_size=16):
    max_length = int(math.log(max_int, 2))
    g = torch.Generator().manual_seed(9)
    sampled = torch.randint(0, max_int // 2, (batch_size,), generator=g).tolist()
    labels = [1] * batch_size
    data = [create_binary_list_from_int(int(x * 2)) for x in sampled]
    data = [([0] * (max_length - len(x))) + x for x in data]
    return labels, data


class Generator(nn.Module):
    def __init__(self, input_length):
        super(Generator, self).__init__()
        self.dense_layer = nn.Linear(int(input_length), int(input_length))
        self.activation = nn.Sigmoid()

    def forward(self, x):
        return self.activation(self.dense_layer(x))


class Discriminator(nn.Module):
    def __init__(self, input_length):
        super(Discriminator, self).__init__()
        self.dense = nn.Linear(int(input_length), 1)
        self.activation = nn.Sigmoid()

    def forward(self, x):
        return self.activation(self.dense(x))


class GAN(nn.Module):
    def __init__(self, max_int=128):
        super().__init__()
        self.max_int = max_int
        self.input_length = int(math.log(max_int, 2))
        self.generator = Generator(self.input_length)
        self.discriminator = Discriminator(self.input_length)


def update(module, lr=0.001):
    with torch.no_grad():
        for p in module.parameters():
            p -= lr * p.grad


def build():
    torch.manual_seed(0)
    return GAN()


def step(gan, batch_size=16):
    loss = nn.BCELoss()
    noise = torch.randint(0, 2, size=(batch_size, gan.input_length)).float()
    generated_data = gan.generator(noise)

    true_labels, true_data = generate_even_data(gan.max_int, batch_size=batch_size)
    true_labels = torch.tensor(true_labels).float()
    true_data = torch.tensor(true_data).float()

    generator_discriminator_out = gan.discriminator(generated_data)
    generator_loss = loss(generator_discriminator_out, true_labels)
    generator_loss.backward()
    update(gan.generator)

    gan.zero_grad()
    true_discriminator_loss = loss(gan.discriminator(true_data), true_labels)
    fake_out = gan.discriminator(generated_data.detach())
    fake_loss = loss(fake_out, torch.zeros_like(fake_out))
    discriminator_loss = (true_discriminator_loss + fake_loss) / 2
    discriminator_loss.backward()
    update(gan.discriminator)
    return (generator_loss + discriminator_loss).detach()


TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy', culprits=['target', 'function:tensor'], dim=1, got=None, wanted=1,
             hint_any=['unsqueeze', 'squeeze', '(16, 1)', 'view'])
MENDED = [('torch.tensor(true_labels).float()', 'torch.tensor(true_labels).float().unsqueeze(1)')]
