"""Writes `corpora/slips.jsonl` anew: which slips in which scripts are mistakes.

    python benchmarks/write_slips.py               all scripts
    python benchmarks/write_slips.py unet vae      these alone, the others stay

Of each script so many slips are kept, of as many kinds as there are.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch
from corpora.case import place
from corpora.injection import Slip, slips
from corpora.slips import SCRIPTS, TABLE, table
from corpora.truth import examined

MOST = 30  # of one script


def order(found: list[Slip], script: str) -> list[Slip]:
    """The first of every kind, then the second of every kind, and so on."""
    seen: dict[str, int] = {}
    ranked = []
    for slip in sorted(found, key=lambda s: place(script, s.kind, s.new, str(s.start))):
        seen[slip.kind] = seen.get(slip.kind, 0) + 1
        ranked.append((seen[slip.kind], slip.kind, slip))
    return [slip for _, _, slip in sorted(ranked, key=lambda one: one[:2])]


def rows_of(script: str) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    text = (SCRIPTS / f"{script}.py").read_text("utf-8")
    rows: list[dict[str, Any]] = []
    for slip in order(slips(text), script):
        row = examined(script, text, slip)
        if row is not None:
            rows.append(row)
        if len(rows) == MOST:
            break
    return sorted(rows, key=lambda row: (row["start"], row["kind"], row["new"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scripts", nargs="*")
    options = parser.parse_args()
    names = options.scripts or sorted(path.stem for path in SCRIPTS.glob("*.py"))
    rows = [row for row in table() if row["script"] not in names]
    rows = [row for row in rows if (SCRIPTS / f"{row['script']}.py").exists()]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context) as pool:
        for name, own in zip(names, pool.map(rows_of, names), strict=True):
            print(f"{name}: {len(own)}", file=sys.stderr)
            rows += own
    rows.sort(key=lambda row: (row["script"], row["start"], row["kind"], row["new"]))
    TABLE.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


if __name__ == "__main__":
    main()
