import torch
import torch.nn as nn
import torch.nn.functional as f

SOURCE = 'https://github.com/wasiahmad/context_attentive_ir/issues/11'
CATEGORY = 'layer'
DESCRIPTION = 'Query suggestion with a session encoder: with bidirection on, the decoder joins the two directions of a state that a one-way encoder has made.'

PAD = 0


class Args:
    rnn_type = 'LSTM'
    emsize, nhid, nhid_session, nlayers = 24, 32, 32, 1
    src_vocab_size = tgt_vocab_size = 50
    bidirection = True
    dropout = 0.2


class Encoder(nn.Module):
    def __init__(self, rnn_type, input_size, bidirection, nlayers, nhid):
        super(Encoder, self).__init__()
        num_directions = 2 if bidirection else 1
        assert nhid % num_directions == 0
        self.rnn = getattr(nn, rnn_type)(input_size, nhid // num_directions, nlayers,
                                         bidirectional=bidirection, batch_first=True)

    def forward(self, emb, init_states=None):
        memory_bank, hidden = self.rnn(emb, init_states)
        return hidden, memory_bank


class Decoder(nn.Module):
    def __init__(self, rnn_type, input_size, bidirection, nlayers, nhid):
        super(Decoder, self).__init__()
        self.bidirectional_encoder = bidirection
        self.rnn = getattr(nn, rnn_type)(input_size, nhid, nlayers, batch_first=True)

    def init_decoder(self, hidden):
        def _fix_enc_hidden(hidden):
            if self.bidirectional_encoder:
                hidden = torch.cat([hidden[0:hidden.size(0):2],
                                    hidden[1:hidden.size(0):2]], 2)
            return hidden

        if isinstance(hidden, tuple):
            return tuple(_fix_enc_hidden(h) for h in hidden)
        return _fix_enc_hidden(hidden)

    def forward(self, tgt, state):
        return self.rnn(tgt, state)


class HredQS(nn.Module):
    def __init__(self, args):
        super(HredQS, self).__init__()
        self.embedder = nn.Embedding(args.src_vocab_size, args.emsize, padding_idx=PAD)
        self.encoder = Encoder(rnn_type=args.rnn_type,
                               input_size=args.emsize,
                               bidirection=args.bidirection,
                               nlayers=args.nlayers,
                               nhid=args.nhid)
        self.session_encoder = Encoder(rnn_type=args.rnn_type,
                                       input_size=args.nhid,
                                       bidirection=False,
                                       nlayers=args.nlayers,
                                       nhid=args.nhid_session)
        self.decoder = Decoder(rnn_type=args.rnn_type,
                               input_size=args.emsize,
                               bidirection=args.bidirection,
                               nlayers=args.nlayers,
                               nhid=args.nhid_session)
        self.dropout = nn.Dropout(args.dropout)
        self.generator = nn.Linear(args.nhid_session, args.tgt_vocab_size)

    def encode(self, source_rep, batch_size, session_len):
        _, memory_bank = self.encoder(self.embedder(source_rep))
        memory_bank = self.dropout(memory_bank).max(1)[0]
        memory_bank = memory_bank.view(batch_size, session_len, -1).contiguous()
        hidden = None
        hidden_states, cell_states = [], []
        for sidx in range(memory_bank.size(1)):
            i_input = memory_bank[:, sidx, :].unsqueeze(1)
            hidden, session_bank = self.session_encoder(i_input, init_states=hidden)
            hidden_states.append(hidden[0])
            cell_states.append(hidden[1])
        return torch.cat(hidden_states, dim=1), torch.cat(cell_states, dim=1)

    def forward(self, source_rep, target_seq):
        batch_size, session_len = source_rep.size(0), source_rep.size(1)
        source_rep = source_rep.view(batch_size * session_len, -1).contiguous()
        target_seq = target_seq.view(batch_size * session_len, -1).contiguous()
        states = self.encode(source_rep, batch_size, session_len)
        init_decoder_state = self.decoder.init_decoder(states)
        decoder_outputs, _ = self.decoder(self.embedder(target_seq), init_decoder_state)
        target = target_seq[:, 1:].contiguous()
        scores = self.generator(decoder_outputs)[:, :-1, :].contiguous()
        logll = f.log_softmax(scores, dim=-1)
        ml_loss = f.nll_loss(logll.view(-1, logll.size(2)), target.view(-1), reduction='none')
        ml_loss = ml_loss.view(*scores.size()[:-1]).mul(target.ne(PAD).float())
        return ml_loss.sum(1).mean()


def build():
    torch.manual_seed(0)
    return HredQS(Args())


def step(model):
    source_rep = torch.randint(1, 50, (4, 3, 7))
    target_seq = torch.randint(1, 50, (4, 3, 6))
    return model(source_rep, target_seq)


# real fix: the decoder is built with bidirection=False, its states come from the session encoder
TRUTH = dict(raises='RuntimeError', at='function:cat', culprits=['decoder', 'function:cat'], dim=0, got=0, wanted=1,
             hint_any=['direction', 'bidirection', '0', 'empty'])
MENDED = [("""                               input_size=args.emsize,
                               bidirection=args.bidirection,
                               nlayers=args.nlayers,
                               nhid=args.nhid_session)
        self.dropout""", """                               input_size=args.emsize,
                               bidirection=False,
                               nlayers=args.nlayers,
                               nhid=args.nhid_session)
        self.dropout""")]
