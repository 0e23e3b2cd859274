"""What convolutions work with, as `torch.profiler` saw it (float32, AVX-512)."""

import pytest

from shapetrace.recording.extensions.convolutions import working

CONV, BACK = "conv2d", "conv_transpose2d"


@pytest.mark.parametrize(
    ("name", "channels", "kernel", "given", "made", "forward", "backward"),
    [
        (CONV, (1, 16), 3, 28, 14, 200_704, 246_168),
        (CONV, (3, 16), 3, 32, 32, 1_048_576, 1_907_968),
        (CONV, (8, 8), 3, 32, 32, 1_048_576, 1_579_744),
        (CONV, (16, 16), 3, 32, 32, 1_057_792, 2_097_152),
        (CONV, (20, 24), 3, 16, 16, 692_480, 1_068_416),
        (CONV, (16, 1), 3, 28, 28, 1_564_864, 1_614_464),
        (CONV, (16, 32), 3, 14, 7, 219_136, 382_848),
        (BACK, (32, 16), 4, 7, 14, 401_408, 301_056),
        (BACK, (16, 3), 4, 16, 32, 393_216, 262_144),
        (BACK, (24, 20), 4, 16, 32, 2_621_440, 2_656_256),
    ],
)
def test_a_batch_of_sixteen(name, channels, kernel, given, made, forward, backward):
    i, o = channels
    weight = (i, o) if name == BACK else (o, i)
    found = working(
        name,
        (16, i, given, given),
        (*weight, kernel, kernel),
        (16, o, made, made),
        4,
        True,
    )
    assert found.forward == pytest.approx(forward, rel=0.03)
    assert found.backward == pytest.approx(backward, rel=0.2)


def test_one_sample_without_a_batch_is_not_reckoned_with():
    assert working(CONV, (3, 8, 8), (4, 3, 3, 3), (4, 6, 6), 4, True) == (0, 0)


def test_without_a_gradient_of_what_is_given_there_is_no_copy_of_it():
    shapes = (16, 3, 32, 32), (16, 3, 3, 3), (16, 16, 32, 32)
    assert working(CONV, *shapes, 4, False).backward == 16 * 16 * 32 * 32 * 4
