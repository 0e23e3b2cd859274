import torch
from torch import nn

SOURCE = 'https://github.com/vita-epfl/bounding-box-prediction/issues/13 (the relu in front of the softmax and one detach of the file left out)'
CATEGORY = 'correct'
DESCRIPTION = 'Pedestrians in front of a car: boxes and speeds go through two LSTMs, whose states start the decoders of the coming speeds and of the crossing.'


class Args:
    hidden_size, output, skip, hardtanh_limit = 32, 16, 2, 100
    obs_len = 8


class PV_LSTM(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.size = 4
        self.speed_encoder = nn.LSTM(input_size=self.size, hidden_size=args.hidden_size)
        self.pos_encoder = nn.LSTM(input_size=self.size, hidden_size=args.hidden_size)
        self.pos_embedding = nn.Sequential(nn.Linear(args.hidden_size, self.size), nn.ReLU())
        self.speed_decoder = nn.LSTMCell(input_size=self.size, hidden_size=args.hidden_size)
        self.crossing_decoder = nn.LSTMCell(input_size=self.size, hidden_size=args.hidden_size)
        self.fc_speed = nn.Linear(args.hidden_size, self.size)
        self.fc_crossing = nn.Linear(args.hidden_size, 2)
        self.hardtanh = nn.Hardtanh(min_val=-args.hardtanh_limit, max_val=args.hardtanh_limit)
        self.softmax = nn.Softmax(dim=1)
        self.args = args

    def forward(self, speed, pos):
        _, (hsp, csp) = self.speed_encoder(speed.permute(1, 0, 2))
        hsp = hsp.squeeze(0)
        csp = csp.squeeze(0)

        _, (hpo, cpo) = self.pos_encoder(pos.permute(1, 0, 2))
        hpo = hpo.squeeze(0)
        cpo = cpo.squeeze(0)

        speed_outputs = torch.tensor([])
        in_sp = speed[:, -1, :]
        hds, cds = hpo + hsp, cpo + csp
        for i in range(self.args.output // self.args.skip):
            hds, cds = self.speed_decoder(in_sp, (hds, cds))
            speed_output = self.hardtanh(self.fc_speed(hds))
            speed_outputs = torch.cat((speed_outputs, speed_output.unsqueeze(1)), dim=1)
            in_sp = speed_output.detach()

        crossing_outputs = torch.tensor([])
        in_cr = pos[:, -1, :]
        hdc, cdc = hpo + hsp, cpo + csp
        for i in range(self.args.output // self.args.skip):
            hdc, cdc = self.crossing_decoder(in_cr, (hdc, cdc))
            crossing_output = self.softmax(self.fc_crossing(hdc))
            in_cr = self.pos_embedding(hdc)
            crossing_outputs = torch.cat((crossing_outputs, crossing_output.unsqueeze(1)), dim=1)
        return speed_outputs, crossing_outputs


def pedestrians(count, args):
    total = args.obs_len + args.output // args.skip
    pos = torch.cumsum(torch.randn(count, total + 1, 4) * 0.1, dim=1)
    speed = pos[:, 1:] - pos[:, :-1]
    obs = args.obs_len
    crossing = torch.nn.functional.one_hot(torch.randint(0, 2, (count, total - obs)), 2).float()
    return speed[:, :obs], pos[:, 1:obs + 1], speed[:, obs:], crossing


def build():
    return PV_LSTM(Args())


def step(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    mse, bce = nn.MSELoss(), nn.BCELoss()
    model.train()
    for _ in range(3):
        obs_s, obs_p, target_s, target_c = pedestrians(8, model.args)
        model.zero_grad()
        speed_preds, crossing_preds = model(speed=obs_s, pos=obs_p)
        speed_loss = mse(speed_preds, target_s) / 100
        crossing_loss = bce(crossing_preds, target_c)
        loss = speed_loss + crossing_loss
        loss.backward()
        optimizer.step()
    return loss.detach()


# the asker misses the batch behind the encoder; the LSTMs are time first, the final states (1, batch, hidden) lose their layer
# axis only. Eight pedestrians, eight observed and eight coming steps
TRUTH = dict(raises=None, culprits=[])
MENDED = []
