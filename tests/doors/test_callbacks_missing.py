"""Without the framework, its callback says what to install."""

from __future__ import annotations

import sys

import pytest

import shapetrace
from shapetrace import callbacks


@pytest.mark.parametrize(
    ("name", "home", "extra"),
    [
        ("LightningCallback", "lightning", "lightning"),
        ("TrainerCallback", "hugging_face", "transformers"),
    ],
)
def test_the_extra_is_named(monkeypatch, name, home, extra):
    monkeypatch.delitem(sys.modules, f"shapetrace.callbacks.{home}", raising=False)
    monkeypatch.setitem(sys.modules, extra, None)
    if extra == "lightning":
        monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    with pytest.raises(shapetrace.UsageError, match=rf"\.\[{extra}\]"):
        getattr(callbacks, name)


def test_a_name_that_is_none_is_an_attribute_error():
    with pytest.raises(AttributeError, match="KerasCallback"):
        callbacks.KerasCallback
