"""The table of programs that fail, and what they are written with: `broken_programs`
fills it."""

PROGRAMS = {}
WANTED = {}


def program(name, wanted, code):
    PROGRAMS[name] = (
        "import torch\nimport torch.nn as nn\nimport torch.nn.functional as F\n\n\n"
        + code.strip()
        + "\n"
    )
    WANTED[name] = wanted


def sequential(*layers):
    return "def build():\n    return nn.Sequential(" + ", ".join(layers) + ")\n\n\n"


def step(*lines):
    return "def step(model):\n" + "".join(f"    {line}\n" for line in lines)


def net(init, forward):
    head = "class Net(nn.Module):\n    def __init__(self):\n"
    head += "        super().__init__()\n"
    body = "".join(f"        {line}\n" for line in init)
    body += "\n    def forward(self, x):\n"
    body += "".join(f"        {line}\n" for line in forward)
    return head + body + "\n\ndef build():\n    return Net()\n\n\n"
