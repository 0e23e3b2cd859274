import torch
import torch.nn as nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

SOURCE = 'https://github.com/allenai/allennlp/issues/2530'
CATEGORY = 'silent'
DESCRIPTION = 'LSTM over packed sequences: the state of the full batch is copied with .data.clone() at every time step; the final state of each sequence shorter than the longest loses its graph, and the classifier reads just that.'


class AugmentedLstm(nn.Module):
    def __init__(self, input_size, hidden_size, use_highway=True):
        super().__init__()
        self.hidden_size = hidden_size
        self.use_highway = use_highway
        gates = 6 if use_highway else 4
        self.input_linearity = nn.Linear(input_size, gates * hidden_size)
        self.state_linearity = nn.Linear(hidden_size, (gates - 1 if use_highway else gates) * hidden_size)

    def cell(self, x, state, memory):
        h = self.hidden_size
        proj_x, proj_h = self.input_linearity(x), self.state_linearity(state)
        gate = lambda i: proj_x[:, i * h:(i + 1) * h] + proj_h[:, i * h:(i + 1) * h]
        memory = torch.sigmoid(gate(0)) * torch.tanh(gate(2)) + torch.sigmoid(gate(1)) * memory
        output = torch.sigmoid(gate(3)) * torch.tanh(memory)
        if self.use_highway:
            highway = torch.sigmoid(gate(4))
            output = highway * output + (1 - highway) * proj_x[:, 5 * h:6 * h]
        return output, memory

    def forward(self, inputs):
        sequence_tensor, batch_lengths = pad_packed_sequence(inputs, batch_first=True)
        batch_size, total_timesteps, _ = sequence_tensor.size()
        output_accumulator = sequence_tensor.new_zeros(batch_size, total_timesteps, self.hidden_size)
        full_batch_memory = sequence_tensor.new_zeros(batch_size, self.hidden_size)
        full_batch_state = sequence_tensor.new_zeros(batch_size, self.hidden_size)

        current = batch_size - 1
        for timestep in range(total_timesteps):
            while batch_lengths[current] <= timestep:
                current -= 1
            state, memory = self.cell(sequence_tensor[:current + 1, timestep],
                                      full_batch_state[:current + 1].clone(),
                                      full_batch_memory[:current + 1].clone())
            full_batch_memory = full_batch_memory.data.clone()
            full_batch_state = full_batch_state.data.clone()
            full_batch_memory[:current + 1] = memory
            full_batch_state[:current + 1] = state
            output_accumulator[:current + 1, timestep] = state
        output = pack_padded_sequence(output_accumulator, batch_lengths, batch_first=True)
        return output, (full_batch_state.unsqueeze(0), full_batch_memory.unsqueeze(0))


class ReviewClassifier(nn.Module):
    def __init__(self, vocab=120, dim=16, hidden=20):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim)
        self.encoder = AugmentedLstm(dim, hidden)
        self.out = nn.Linear(hidden, 2)

    def forward(self, tokens, lengths):
        packed = pack_padded_sequence(self.embed(tokens), lengths, batch_first=True)
        _, (state, _) = self.encoder(packed)
        return self.out(state.squeeze(0))


def build():
    return ReviewClassifier()


def step(model):
    lengths = torch.tensor([15, 13, 12, 9, 9, 6])
    tokens, labels = torch.randint(1, 120, (6, 15)), torch.randint(0, 2, (6,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(3):
        loss = nn.functional.cross_entropy(model(tokens, lengths), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.detach()


# real fix: .clone() without .data; the rows of finished sequences are only copied on, and .data cuts them off
TRUTH = dict(raises=None, at='function:clone', culprits=['function:clone', 'function:data', 'function:detach', 'encoder'],
             dim=None, got=None, wanted=None, hint_any=['detach', '.data', 'gradient', 'graph', 'clone'])
MENDED = [('full_batch_memory.data.clone()', 'full_batch_memory.clone()'), ('full_batch_state.data.clone()', 'full_batch_state.clone()')]
