"""The command runs a script as Python does, and reports whatever becomes of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pandas
import pytest

import shapetrace
from shapetrace.cli import main

GOOD = """
import torch
from torch import nn
model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
model(torch.ones(2, 4))
"""
BROKEN = GOOD + "nn.functional.cross_entropy(model(torch.ones(2, 4)), torch.ones(5))\n"


def refused(capsys, *argv: str) -> str:
    """What the command says when it refuses; nothing may have run."""
    with pytest.raises(SystemExit) as exit:
        main(argv)
    assert exit.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_run_prints_the_table_of_an_unmodified_script(script, capsys):
    assert main(["run", script(GOOD)]) == 0
    out = capsys.readouterr().out
    assert "Linear" in out and "2×4" in out and "2×3" in out


def test_run_writes_the_reports_that_were_asked_for(script, capsys):
    names = ["--csv", "a.csv", "--json", "a.json", "--html", "a.html"]
    assert main(["run", *names, script(GOOD)]) == 0
    types = ["Sequential", "Linear", "ReLU"]
    assert list(pandas.read_csv("a.csv")["type"]) == types
    assert [call.type for call in shapetrace.load("a.json").calls] == types
    assert "Sequential" in Path("a.html").read_text()


def test_reports_go_where_the_user_stood_when_the_script_changes_directory(script):
    Path("elsewhere").mkdir()
    main(["run", "--csv", "a.csv", script("import os\nos.chdir('elsewhere')" + GOOD)])
    assert os.path.basename(os.getcwd()) == "elsewhere"
    assert Path("../a.csv").exists()


def test_arguments_after_the_script_are_its_own(script, capsys):
    name = script("import sys\nprint(sys.argv)")
    main(["run", name, "--csv", "x.csv", "--", "-h"])
    assert capsys.readouterr().out.startswith(
        "['script.py', '--csv', 'x.csv', '--', '-h']"
    )
    assert not Path("x.csv").exists()


@pytest.mark.parametrize(
    "given",
    [
        ["--n", "3"],
        ["--no", "--csv", "theirs.csv", "--c"],
        ["-h"],
        ["--no-functions", "x", "--", "y"],
    ],
)
def test_an_option_of_the_script_is_not_taken_for_one_of_ours(script, capsys, given):
    text = "import sys\nprint('given', sys.argv[1:])"
    assert main(["run", "--csv", "ours.csv", script(text), *given]) == 0
    assert f"given {given}" in capsys.readouterr().out
    assert Path("ours.csv").exists() and not Path("theirs.csv").exists()


def test_only_the_script_is_said_to_be_missing(capsys):
    assert refused(capsys, "run").strip().endswith("required: script")


def test_the_script_is_main_and_finds_its_neighbours(script, capsys):
    Path("folder").mkdir()
    script("WHO = 'neighbour'", "folder/shapetrace_neighbour.py")
    name = script(
        "import pickle, sys\nfrom shapetrace_neighbour import WHO\n"
        "class Own: pass\n"
        "print(__name__, __file__, WHO, type(pickle.loads(pickle.dumps(Own()))))",
        "folder/script.py",
    )
    main(["run", name])
    said = f"__main__ {os.path.abspath(name)} neighbour <class '__main__.Own'>"
    assert said in capsys.readouterr().out


def test_nothing_of_the_script_is_left_in_the_interpreter(script):
    before = sys.modules["__main__"], sys.argv, list(sys.path)
    main(["run", script("import sys\nsys.path.insert(0, 'x')\nsys.argv = []")])
    assert (sys.modules["__main__"], sys.argv, sys.path) == before
    script("", "theirs.py")
    main(["run", "-m", "theirs"])
    assert (sys.modules["__main__"], sys.argv, sys.path) == before


def test_a_failing_script_keeps_its_traceback_and_still_gets_its_report(script, capsys):
    assert main(["run", "--csv", "a.csv", script(BROKEN)]) == 1
    out, err = capsys.readouterr()
    assert "Linear" in out
    assert list(pandas.read_csv("a.csv")["type"]).count("Linear") == 2
    first_frame = err.partition("Traceback")[2].splitlines()[1]
    assert first_frame.strip().startswith(f'File "{os.path.abspath("script.py")}"')
    note = err.partition("ValueError: Expected input batch_size (2) to match")[2]
    assert "cross_entropy" in note


CHAINED = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(5, 3))
    def forward(self, x):
        return self.fc(x)
try:
    Net()(torch.ones(2, 4))
except RuntimeError as error:
    raise ValueError("again") from error
"""


def test_the_traceback_of_a_script_has_no_frame_of_ours(script, capsys):
    assert main(["run", script(CHAINED)]) == 1
    err = capsys.readouterr().err
    frames = [line for line in err.splitlines() if line.startswith('  File "')]
    ours = os.path.dirname(shapetrace.__file__)
    assert len(frames) > 4 and not [line for line in frames if ours in line]
    assert "in forward" in err and "direct cause" in err


def test_a_script_that_leaves_by_itself_has_not_failed(script, capsys):
    with pytest.raises(SystemExit):
        main(["run", script(GOOD + "import sys\nsys.exit(0)")])
    assert "failed" not in capsys.readouterr().out


def test_a_failure_that_the_script_turns_into_its_exit_status_is_explained(
    script, capsys
):
    caught = BROKEN.replace("nn.functional", "    nn.functional")
    caught = caught.replace("    nn.f", "try:\n    nn.f", 1)
    with pytest.raises(SystemExit) as exit:
        main(["run", script(caught + "except ValueError:\n    raise SystemExit(4)")])
    assert exit.value.code == 4
    assert "cross_entropy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("leave", "code"),
    [("sys.exit(3)", 3), ("sys.exit('why')", "why"), ("sys.exit()", None)],
)
def test_the_exit_status_of_the_script_is_kept(script, capsys, leave, code):
    with pytest.raises(SystemExit) as exit:
        main(["run", "--json", "a.json", script(GOOD + f"import sys\n{leave}")])
    assert exit.value.code == code
    assert "Linear" in capsys.readouterr().out
    assert len(shapetrace.load("a.json").calls) == 3


def test_an_interrupted_script_still_gets_its_report(script, capsys):
    assert main(["run", script(GOOD + "raise KeyboardInterrupt")]) == 130
    out, err = capsys.readouterr()
    assert "Linear" in out and "KeyboardInterrupt" in err


def test_an_exception_that_the_script_catches_is_explained_all_the_same(script, capsys):
    body = BROKEN.splitlines()
    body[-1] = f"try: {body[-1]}\nexcept ValueError: pass"
    assert main(["run", "--json", "a.json", script("\n".join(body))]) == 0
    explanation = str(shapetrace.load("a.json").failure)
    assert "cross_entropy" in explanation
    assert explanation in capsys.readouterr().out


def test_no_functions_records_module_calls_alone(script):
    main(["run", "--no-functions", "--json", "a.json", script(GOOD)])
    t = shapetrace.load("a.json")
    assert len(t.calls) == 3 and t.functions == ()


def test_what_cannot_be_run_is_refused(script, capsys):
    Path("folder").mkdir()
    Path("data.bin").write_bytes(b"\x89PNG\r\n\x00\xff")
    assert "there is no file missing.py" in refused(capsys, "run", "missing.py")
    assert "folder is no file" in refused(capsys, "run", "folder")
    assert "data.bin is no Python program" in refused(capsys, "run", "data.bin")
    typo = refused(capsys, "run", script("x = (1,\n"))
    assert "script.py" in typo and "line 1" in typo and "'(' was never closed" in typo
    assert "script" in refused(capsys, "run")


def test_a_report_that_cannot_be_written_is_refused_before_the_script_runs(
    script, capsys
):
    name = script("print('ran')")
    Path("folder").mkdir()
    said = refused(capsys, "run", "--csv", "no/such/a.csv", name)
    assert "make the folder" in said and "no/such" in said
    assert "that is a folder" in refused(capsys, "run", "--json", "folder", name)
    assert "the script itself" in refused(capsys, "run", "--html", name, name)
    if os.path.isdir("/proc/self"):
        said = refused(capsys, "run", "--csv", "/proc/self/a.csv", name)
        assert "permission" in said


def test_the_report_begins_on_a_line_of_its_own(script, capsys):
    main(["run", script(GOOD + "\nprint('loss 0.3', end='')")])
    assert capsys.readouterr().out.startswith("loss 0.3\nSequential: 3 module calls")


def test_show_prints_and_converts_a_saved_report(script, capsys):
    main(["run", "--json", "a.json", script(GOOD)])
    table = capsys.readouterr().out
    assert main(["show", "a.json", "--csv", "b.csv", "--html", "b.html"]) == 0
    assert "\n" + capsys.readouterr().out == table
    assert len(pandas.read_csv("b.csv")) == 3
    assert "Sequential" in Path("b.html").read_text()


def test_show_refuses_what_is_no_report(script, capsys):
    damaged = script('{"calls": [', "damaged.json")
    assert "damaged.json" in refused(capsys, "show", damaged)
    assert "damaged.json" in refused(capsys, "show", script("[]", "damaged.json"))
    assert "missing.json" in refused(capsys, "show", "missing.json")


def test_python_dash_m_is_the_same_command(script):
    name = script(GOOD + "raise SystemExit(7)")
    done = subprocess.run(
        [sys.executable, "-m", "shapetrace", "run", name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7
    assert "Linear" in done.stdout


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as exit:
        main(["--version"])
    assert exit.value.code == 0
    assert capsys.readouterr().out == f"shapetrace {shapetrace.__version__}\n"


def test_a_module_runs_as_python_dash_m_runs_it(script, capsys):
    Path("package").mkdir()
    script("", "package/__init__.py")
    script("WHO = 'neighbour'", "package/near.py")
    text = "import sys\nfrom .near import WHO\nprint(__name__, __spec__.name, WHO)\n"
    name = script(text + "print(sys.argv)" + GOOD, "package/train.py")
    assert main(["run", "-m", "package.train", "--csv", "theirs"]) == 0
    said = f"__main__ package.train neighbour\n['{os.path.abspath(name)}', '--csv', "
    out = capsys.readouterr().out
    assert out.startswith(said) and "Linear" in out
    script(text, "package/__main__.py")
    assert main(["run", "-m", "package"]) == 0
    assert "__main__ package.__main__ neighbour" in capsys.readouterr().out


def test_a_module_that_cannot_be_run_is_refused(script, capsys):
    Path("bare").mkdir()
    script("", "bare/__init__.py")
    script("x = (", "broken.py")
    assert "no such module" in refused(capsys, "run", "-m", "missing_module")
    assert "without __main__" in refused(capsys, "run", "-m", "bare")
    assert "never closed" in refused(capsys, "run", "-m", "broken")
    assert "name the module" in refused(capsys, "run", "-m")


SILENT = """
import torch
from torch import nn
model = nn.Linear(10, 1)
loss = ((model(torch.randn(6, 10)) - torch.randn(6)) ** 2).mean()
"""


def test_findings_are_explained_in_full_and_are_no_warnings(script, capsys):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert main(["run", "--json", "a.json", script(SILENT)]) == 0
    assert warned == []
    (finding,) = shapetrace.load("a.json").findings
    assert finding.severity == "warning"
    explained = f"\n\nwarning [silent-broadcast]\n{finding}\n"
    out = capsys.readouterr().out
    assert explained in out and out.count(finding.message) == 1
    assert main(["explain", "a.json"]) == 0
    assert explained in f"\n{capsys.readouterr().out}"


def test_a_finding_leads_to_what_it_means(script, capsys):
    main(["run", script(SILENT)])
    out = " ".join(capsys.readouterr().out.split())
    assert "every prediction is compared with every target" in out
    assert "or: shapetrace explain silent-broadcast" in out
    assert main(["explain", "silent-broadcast"]) == 0
    page = capsys.readouterr().out
    assert page.startswith("# silent-broadcast\n") and "## " in page
    with pytest.raises(SystemExit):
        main(["explain", "silent-broad"])
    said = capsys.readouterr().err
    assert "there is no report silent-broad, and no such check of: " in said
    assert " silent-broadcast," in said


def test_what_the_script_s_reader_cannot_type_is_not_told(script, capsys):
    # more findings than are listed, calls too deep to be shown
    lines = [
        f"m{n} = nn.Sequential(nn.Sequential(nn.Linear(4, 1)))\n"
        f"((m{n}(torch.ones(3, 4)) - torch.ones(3)) ** 2).mean()\n"
        for n in range(14)
    ]
    text = "import torch\nfrom torch import nn\n" + "".join(lines)
    fails = "try:\n    m0(torch.ones(2, 3))\nexcept RuntimeError:\n    pass\n"
    for at, program in enumerate((text, text + fails, BROKEN)):
        name = script(program, f"script{at}.py")
        main(["run", "--depth", "1", "--html", "a.html", name])
        out, err = capsys.readouterr()
        assert not re.search(r"\bt\.\w|print\(", out + err)
        assert not re.search(r"\bt\.(explain|findings|to_)", Path("a.html").read_text())
    main(["run", script(text)])
    out = capsys.readouterr().out
    assert out.count("\nwarning [silent-broadcast]\n") == 14
    assert out.count("Where it is meant:") == 14


def test_a_report_in_which_all_is_well_is_explained_too(script, capsys):
    text = GOOD + "nn.functional.mse_loss(model(torch.ones(2, 4)), torch.ones(2, 3))"
    main(["run", "--json", "a.json", script(text)])
    capsys.readouterr()
    assert main(["explain", "a.json"]) == 0
    assert "mse_loss" in capsys.readouterr().out


def test_two_reports_are_compared(script, capsys):
    main(["run", "--json", "a.json", script(GOOD)])
    main(["run", "--json", "b.json", script(GOOD.replace("(2, 4)", "(5, 4)"))])
    capsys.readouterr()
    assert main(["compare", "a.json", "b.json"]) == 1
    out = capsys.readouterr().out
    assert "2" in out and "5" in out
    assert main(["compare", "a.json", "a.json"]) == 0
    capsys.readouterr()
    assert "missing.json" in refused(capsys, "compare", "a.json", "missing.json")


@pytest.mark.zoo
@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_stream_that_cannot_encode_costs_nothing_of_the_script(script, encoding):
    done = subprocess.run(
        [sys.executable, "-m", "shapetrace", "run", script("print('mine')" + BROKEN)],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        check=False,
    )
    out, err = done.stdout.decode(encoding), done.stderr.decode(encoding)
    assert done.returncode == 1
    assert out.startswith("mine") and "Linear" in out
    assert "?" not in out.replace("culprit?", "")  # a remark's own
    assert "Expected input batch_size (2)" in err and "UnicodeEncodeError" not in err


@pytest.mark.zoo
@pytest.mark.parametrize("closing", ["sys.stdout.close()", "sys.stdout = None"])
def test_a_script_that_closes_its_output_keeps_its_exit_status(script, closing):
    name = script(GOOD + f"import sys\n{closing}\nsys.exit(5)")
    command = [sys.executable, "-m", "shapetrace", "run", "--csv", "a.csv", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 5 and Path("a.csv").exists()
    assert "Traceback" not in done.stderr


def test_a_script_that_removes_its_working_directory_has_its_files(script, tmp_path):
    name = script(GOOD + "import os\nos.mkdir('x')\nos.chdir('x')\nos.rmdir('../x')\n")
    assert main(["run", "--json", "a.json", "--html", "a.html", name]) == 0
    assert shapetrace.load(tmp_path / "a.json").calls
    assert (tmp_path / "a.html").exists()
