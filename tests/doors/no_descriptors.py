"""A program that has no descriptor left for a file from some moment on, and then has
again: `no_descriptors.py MOMENT`. What the views gave is printed as JSON."""

from __future__ import annotations

import json
import os
import resource
import sys
import warnings

import torch
import torch.nn.functional as F
from torch import nn

import shapetrace

_, MOST = resource.getrlimit(resource.RLIMIT_NOFILE)
VIEWS = {
    "repr": repr,
    "str": str,
    "html": lambda t: t._repr_html_(),
    "explain": lambda t: str(t.explain()),
    "failure": lambda t: str(t.failure),
    "findings": lambda t: repr(t.findings),
    "losses": lambda t: len(t.losses),
    "calls": lambda t: len(t.calls),
    "summary": lambda t: len(t.summary()) > 10,
    "frame": lambda t: len(t.to_dataframe()),
    "csv": lambda t: t.to_csv(os.devnull),
    "json": lambda t: t.to_json(os.devnull),
    "costs": lambda t: t.costs.flops,
    "compare": lambda t: str(shapetrace.compare(t, t)),
}


def seen(t: shapetrace.Trace) -> dict[str, str]:
    found = {}
    for name, view in VIEWS.items():
        try:
            found[name] = str(view(t))
        except Exception as error:
            found[name] = f"raised {type(error).__name__}: {error}"
    return found


def descriptors(count: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, MOST))


def main(moment: str) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))
    left = None
    if moment == "before the block":
        descriptors(3)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", shapetrace.ShapeTraceWarning)
        try:
            with shapetrace.trace(model, timing=False) as t:
                if moment == "in the block":
                    descriptors(3)
                F.l1_loss(model(torch.ones(2, 4)), torch.ones(2, 5))
        except RuntimeError as error:
            left = str(error)
        descriptors(3)
        without = seen(t)
    descriptors(1024)
    said = [str(one.message) for one in warned]
    print(json.dumps([left, said, without, seen(t)]))


if __name__ == "__main__":
    main(sys.argv[1])
