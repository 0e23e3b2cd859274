import torch
import torch.nn as nn

SOURCE = 'https://github.com/ndrplz/ConvLSTM_pytorch/issues/27'
CATEGORY = 'layer'
DESCRIPTION = 'ConvLSTM with kernel (2, 2) and padding kernel // 2: the gates are one pixel larger than the cell state.'


class ConvLSTMCell(nn.Module):

    def __init__(self, input_dim, hidden_dim, kernel_size, bias):
        super().__init__()
        self.hidden_dim = hidden_dim
        padding = kernel_size[0] // 2, kernel_size[1] // 2
        self.conv = nn.Conv2d(input_dim + hidden_dim, 4 * hidden_dim, kernel_size, padding=padding, bias=bias)

    def forward(self, input_tensor, cur_state):
        h_cur, c_cur = cur_state
        combined = torch.cat([input_tensor, h_cur], dim=1)
        cc_i, cc_f, cc_o, cc_g = torch.split(self.conv(combined), self.hidden_dim, dim=1)
        i, f, o, g = torch.sigmoid(cc_i), torch.sigmoid(cc_f), torch.sigmoid(cc_o), torch.tanh(cc_g)
        c_next = f * c_cur + i * g
        h_next = o * torch.tanh(c_next)
        return h_next, c_next

    def init_hidden(self, batch_size, image_size):
        height, width = image_size
        return (torch.zeros(batch_size, self.hidden_dim, height, width, device=self.conv.weight.device),
                torch.zeros(batch_size, self.hidden_dim, height, width, device=self.conv.weight.device))


class ConvLSTM(nn.Module):

    def __init__(self, input_dim, hidden_dim, kernel_size, num_layers, batch_first=False, bias=True):
        super().__init__()
        hidden_dim = hidden_dim if isinstance(hidden_dim, list) else [hidden_dim] * num_layers
        self.batch_first, self.num_layers = batch_first, num_layers
        self.cell_list = nn.ModuleList([
            ConvLSTMCell(input_dim if i == 0 else hidden_dim[i - 1], hidden_dim[i], kernel_size, bias)
            for i in range(num_layers)])

    def forward(self, input_tensor):
        if not self.batch_first:
            input_tensor = input_tensor.permute(1, 0, 2, 3, 4)
        b, seq_len, _, h, w = input_tensor.size()
        last_states = []
        cur_layer_input = input_tensor
        for cell in self.cell_list:
            hidden, c = cell.init_hidden(b, (h, w))
            output_inner = []
            for t in range(seq_len):
                hidden, c = cell(cur_layer_input[:, t], [hidden, c])
                output_inner.append(hidden)
            cur_layer_input = torch.stack(output_inner, dim=1)
            last_states.append([hidden, c])
        return cur_layer_input, last_states


class Nowcast(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(1, 8, 3, padding=1)
        self.convlstm = ConvLSTM(8, 16, (2, 2), 1, True, True)
        self.out = nn.Conv2d(16, 1, 1)

    def forward(self, frames):
        b, t = frames.shape[:2]
        x = torch.relu(self.embed(frames.flatten(0, 1))).unflatten(0, (b, t))
        _, last_states = self.convlstm(x)
        return self.out(last_states[0][0])


def build():
    torch.manual_seed(0)
    return Nowcast()


def step(model):
    radar = torch.rand(4, 6, 1, 16, 16)
    return nn.functional.l1_loss(model(radar[:, :5]), radar[:, 5])


# real fix: an odd kernel, (3, 3)
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['convlstm.cell_list.0.conv'], dim=2, got=17, wanted=16,
             hint_any=['kernel', 'padding', 'odd', 'same'])
MENDED = [('ConvLSTM(8, 16, (2, 2), 1, True, True)', 'ConvLSTM(8, 16, (3, 3), 1, True, True)')]
