"""A network that is run under `no_grad` beside one that learns is used as it is."""

import pytest
import torch
from failures import failure_of, first
from torch import nn
from torch.nn import functional as F


class Pair(nn.Module):
    """What learns, and what it learns from."""

    def __init__(self, student, teacher):
        super().__init__()
        self.student, self.teacher = student, teacher.eval()


def told(student, teacher, x, loss=F.mse_loss, learns=False):
    pair = Pair(student, teacher)

    def step():
        with torch.set_grad_enabled(learns):
            wanted = pair.teacher(x)
        return loss(pair.student(x), wanted)

    return failure_of(pair, step)


def images(size):
    return torch.rand(2, 3, size, size)


@pytest.mark.parametrize("size", [32, 48])
def test_the_stride_that_the_student_lacks(size):
    teacher = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 6, 1)
    )
    student = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 6, 3, padding=1)
    )
    found = told(
        student, teacher, images(size), lambda made, wanted: (made - wanted).sum()
    )
    kind, name = first(found)
    assert kind == "module" and name.startswith("student.")
    assert all(fix.where is None or "MaxPool2d" not in fix.line for fix in found.fixes)


@pytest.mark.parametrize("widths", [(24, 16), (7, 6)])
def test_the_width_of_a_head_that_is_to_be_as_a_teachers(widths):
    wide, narrow = widths
    teacher = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, wide))
    student = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, narrow))
    found = told(student, teacher, torch.rand(5, 6))
    assert first(found) == ("module", "student.2")
    assert f"nn.Linear(12, {wide})" in found.fixes[0].line


def test_a_projection_that_a_predictor_forgot():
    teacher = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.Flatten(), nn.Linear(128, 10))
    student = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Flatten(), nn.Linear(64, 12))
    found = told(
        student, teacher, images(8), lambda made, wanted: (made * wanted).mean()
    )
    assert first(found) == ("module", "student.2")


def test_the_head_of_a_policy_beside_its_target_network():
    target = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 6))
    policy = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 5))
    found = told(
        policy, target, torch.rand(9, 4), lambda made, wanted: (made - wanted).abs()
    )
    assert first(found) == ("module", "student.2")


def test_where_nothing_learns_none_is_preferred():
    net = nn.Sequential(nn.Linear(4, 16), nn.Linear(12, 3)).eval()

    def step():
        with torch.no_grad():
            return net(torch.rand(2, 4))

    found = failure_of(net, step)
    assert first(found)[0] == "module"
    assert "as a network that is not trained" not in str(found)


def test_a_teacher_is_less_likely_than_a_second_network_that_learns():
    def share(learns):
        teacher = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 24))
        student = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 16))
        found = told(
            student,
            teacher,
            torch.rand(5, 6),
            lambda made, wanted: (made - wanted).abs(),
            learns,
        )
        likely = {one.name: one.probability for one in found.culprits}
        return likely.get("teacher.2", 0.0)

    assert share(learns=False) < share(learns=True)
