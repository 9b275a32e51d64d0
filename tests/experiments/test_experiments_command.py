"""``python -m experiments``: what it shows, and that it answers every mistake with one sentence and an exit code."""

import json
import os
import signal
import subprocess
import sys
from multiprocessing import active_children
from pathlib import Path
from time import monotonic, sleep

import pytest

import portanet
from experiments.__main__ import main
from experiments.runner import Experiment, Study, discover
from experiments.runner.jobs import Task, run_all

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _without_the_users_settings(monkeypatch, tmp_path):
    monkeypatch.delenv("PORTANET_DEVICE", raising=False)
    monkeypatch.setenv("COLUMNS", "10000")
    monkeypatch.chdir(tmp_path)


def refused(capsys, code, *arguments):
    """Run what must fail, and return its only line on stderr."""
    assert main(list(arguments)) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("experiments: ")
    return said.err


def test_list_shows_id_source_data_and_what_is_reported(capsys):
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    for experiment in discover().values():
        for part in (experiment.id, experiment.what, experiment.source, experiment.data, *[*experiment.reported][:8]):
            assert part in shown
        assert (f"and {len(experiment.reported) - 8} more" in shown) is (len(experiment.reported) > 8)
    assert "test accuracy, lr 0.5: 0.9466" in shown


def test_list_as_json_holds_the_records(capsys):
    assert main(["list", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert records == [experiment.record() for experiment in discover().values()]
    assert next(record for record in records if record["id"] == "digits")["reported"] == {
        "test accuracy": {"value": 0.97, "better": "higher"}
    }


def test_listing_imports_neither_matplotlib_nor_scikit_learn():
    code = (
        "import sys; from experiments.__main__ import main; main(['list']);"
        "sys.exit(bool({'matplotlib', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False).returncode == 0


def test_a_reader_that_has_seen_enough_is_no_error():
    command = [sys.executable, "-m", "experiments", "list"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as listing:
        listing.stdout.close()
        assert listing.stderr.read() == b""
    assert listing.returncode == 1


def test_without_a_command_help_is_printed(capsys):
    assert main([]) == 2
    assert "Begin with: python -m experiments run digits" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["list", "--help"], ["report", "--help"]], ids=" ".join
)
def test_help(arguments, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(arguments)
    assert "usage: python -m experiments" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("digist", "did you mean digits? python -m experiments list shows all"),
        ("000-toy-tahn", "did you mean 000-toy-tanh or "),
        ("?", "python -m experiments list shows all"),
    ],
)
def test_an_unknown_id_names_those_near(asked, hint, capsys):
    assert f"there is no experiment {asked!r}: {hint}" in refused(capsys, 2, "run", "digits", asked)
    assert not Path("results").exists()


@pytest.mark.parametrize(("option", "least"), [("--seed", 0), ("--seeds", 1), ("--jobs", 1)])
@pytest.mark.parametrize("number", ["-1", "1.5", "one", ""])
def test_numbers_are_whole(option, least, number, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["run", "digits", option, number])
    assert f"{option}: must be a whole number from {least} on, got {number!r}" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--seeds", "--jobs"])
def test_nothing_is_no_number_of_seeds_or_jobs(option, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["run", "digits", option, "0"])
    assert f"{option}: must be a whole number from 1 on, got '0'" in capsys.readouterr().err


def test_an_unknown_device(capsys):
    assert "device 'gpu' is unknown (a GPU is 'cuda')" in refused(capsys, 2, "run", "digits", "--device", "gpu")


def test_an_unavailable_device(capsys):
    assert "device 'cpu:1' does not exist" in refused(capsys, 1, "run", "digits", "--device", "cpu:1")


@pytest.mark.parametrize("out", ["taken", "taken/below"])
def test_out_that_is_a_file(out, capsys):
    Path("taken").write_text("kept")
    assert f"--out must be a folder that can be written to, got {out}: " in refused(
        capsys, 2, "run", "digits", "--out", out
    )
    assert Path("taken").read_text() == "kept"


def test_out_that_is_not_writable(capsys, monkeypatch):
    def refuse(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("experiments.__main__.TemporaryFile", refuse)  # file modes do not stop a superuser
    assert "got results: Permission denied" in refused(capsys, 2, "run", "digits")


def test_missing_data_say_so_and_other_experiments_still_run(capsys, monkeypatch):
    monkeypatch.setenv("PORTANET_DATA", "nowhere")
    assert main(["run", "003-mlp", "digits", "--quick"]) == 1
    said = capsys.readouterr()
    assert "experiments: 003-mlp, seed 0: PORTANET_DATA is 'nowhere', which is not a folder" in said.err
    assert "Traceback" not in said.err
    assert [path.name for path in Path("results", "quick").iterdir()] == ["digits"]


def test_a_missing_file_is_named_and_how_to_get_it(capsys, monkeypatch):
    pooch = pytest.importorskip("pooch", reason="pooch downloads")

    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(pooch, "retrieve", refuse)
    monkeypatch.setattr(pooch, "os_cache", lambda name: Path("cache", name))
    Path("empty").mkdir()
    monkeypatch.setenv("PORTANET_DATA", "empty")
    assert main(["run", "003-mlp", "--quick"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("experiments: 003-mlp, seed 0: could not download https://")
    assert said.endswith(
        "(OSError); place train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and "
        "t10k-labels-idx1-ubyte.gz by hand in the folder mnist/ of the folder that PORTANET_DATA names, 'empty'"
    )


def test_a_missing_package_of_a_data_set(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert main(["run", "digits", "--quick"]) == 1
    said = capsys.readouterr().err
    assert said.endswith(
        "experiments: digits, seed 0: digits needs scikit-learn: pip install 'portanet[experiments]'\n"
    )


def test_a_missing_package_of_an_experiment(capsys, monkeypatch):
    def fit(*_, **__):
        raise ModuleNotFoundError("No module named 'skimage'")

    monkeypatch.setattr(portanet.Trainer, "fit", fit)
    assert main(["run", "digits", "--quick"]) == 1
    assert "digits, seed 0: No module named 'skimage': pip install 'portanet[experiments]'\n" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["matplotlib", "tqdm"])
def test_a_missing_package_of_the_command_is_noticed_before_the_training(package, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    said = refused(capsys, 1, "run", "digits")
    assert said == f"experiments: pictures and progress need {package}: pip install 'portanet[experiments]'\n"


def test_divergence_is_reported_in_a_sentence(capsys, monkeypatch):
    def fit(*_, **__):
        raise portanet.Diverged("the loss became nan at step 3 of epoch 1", portanet.History())

    monkeypatch.setattr(portanet.Trainer, "fit", fit)
    assert main(["run", "digits", "--quick"]) == 1
    assert "experiments: digits, seed 0: the loss became nan at step 3 of epoch 1\n" in capsys.readouterr().err


@pytest.fixture
def claims(monkeypatch):
    """Two experiments that find their seed, and the seeds in the order in which they were run."""
    ran = []

    def function(run):
        ran.append((run.id, run.seed, run.draw))
        return {"seed": run.seed}

    known = {id: Experiment(id, "nobody", "nothing", "nothing", "", {}, function) for id in ("001-a", "002-b")}
    monkeypatch.setattr("experiments.__main__.discover", lambda: known)
    return known, ran


def result(id, folder="results"):
    return json.loads(Path(folder, id, "result.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("ids", "chosen"),
    [(["001"], ["001-a"]), (["all"], ["001-a", "002-b"]), (["002-b", "001", "all", "001-a"], ["002-b", "001-a"])],
)
def test_ids_may_be_those_of_a_source_or_all_and_none_runs_twice(ids, chosen, claims):
    assert main(["run", *ids]) == 0
    assert [id for id, _, _ in claims[1]] == chosen


def test_ours_are_a_source_too():
    assert {experiment.group for experiment in discover().values()} >= {"000", "001", "003", "ours"}
    assert discover()["digits"].group == "ours"


def test_seeds_are_run_once_and_more_of_them_are_added(claims, capsys):
    _, ran = claims
    assert main(["run", "001-a", "--seed", "4"]) == 0
    assert main(["run", "001-a", "--seed", "4", "--seeds", "3"]) == 0
    assert ran == [("001-a", 4, True), ("001-a", 5, False), ("001-a", 6, False)]
    assert result("001-a")["seeds"] == [4, 5, 6]
    assert result("001-a")["figures"]["seed"]["ours"] == 5
    capsys.readouterr()
    assert main(["run", "001-a", "--seed", "4"]) == 0
    said = capsys.readouterr()
    assert said.err == "experiments: 001-a is finished already; --force runs it again\n"
    assert "seed  5 ± 1\n" in said.out
    assert len(ran) == 3
    assert main(["run", "001-a", "--seed", "4", "--force"]) == 0
    assert ran[3:] == [("001-a", 4, True)]


def test_a_lower_seed_takes_over_the_pictures(claims):
    assert main(["run", "001-a", "--seed", "1"]) == 0
    assert main(["run", "001-a", "--seeds", "2"]) == 0
    assert claims[1] == [("001-a", 1, True), ("001-a", 0, True)]


def test_quick_runs_stay_apart_from_full_ones(claims):
    assert main(["run", "all"]) == 0
    before = {path: path.read_bytes() for path in Path("results").rglob("*") if path.is_file()}
    assert main(["run", "all", "--quick"]) == 0
    assert result("001-a", "results/quick")["quick"] is True
    assert {path: path.read_bytes() for path in before} == before


def test_an_experiment_with_a_bug_says_where_and_holds_up_no_other(claims, capsys, monkeypatch):
    known, ran = claims

    def wrong(run):
        return {"share": 1 / run.seed}

    known["001-a"] = Experiment("001-a", "nobody", "nothing", "nothing", "", {}, wrong)
    assert main(["run", "all", "--seeds", "2"]) == 1
    said = capsys.readouterr()
    assert "experiments: 001-a, seed 0: Traceback" in said.err
    assert "in wrong\n" in said.err
    assert result("001-a")["seeds"] == [1]
    assert "001-a, seed 1, on cpu" in said.out
    assert [id for id, _, _ in ran] == ["002-b", "002-b"]


def test_an_interrupted_run_goes_on_where_it_was(claims, capsys, monkeypatch):
    _, ran = claims
    finish = Study.measure

    def interrupted(self, seed, **options):
        if seed == 1:
            raise KeyboardInterrupt
        finish(self, seed, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Study, "measure", interrupted)
        assert main(["run", "all", "--seeds", "3"]) == 130
    assert "\nexperiments: interrupted; what had ended is kept" in capsys.readouterr().err
    assert ran == [("001-a", 0, True)]
    assert result("001-a")["seeds"] == [0]
    assert main(["run", "all", "--seeds", "3"]) == 0
    assert ran[1:] == [
        ("001-a", 1, False),
        ("001-a", 2, False),
        ("002-b", 0, True),
        ("002-b", 1, False),
        ("002-b", 2, False),
    ]
    assert all(result(id)["seeds"] == [0, 1, 2] for id in ("001-a", "002-b"))


def test_an_interruption_while_forced_keeps_older_results(claims, monkeypatch):
    known, _ = claims
    assert main(["run", "001-a"]) == 0
    before = {path.name: path.read_bytes() for path in Path("results", "001-a").iterdir()}

    def interrupt(run):
        raise KeyboardInterrupt

    known["001-a"] = Experiment("001-a", "nobody", "nothing", "nothing", "", {}, interrupt)
    assert main(["run", "001-a", "--force"]) == 130
    assert {path.name: path.read_bytes() for path in Path("results", "001-a").iterdir()} == before


TWO = ["run", "000-toy-tanh", "digits", "--quick", "--out", "side-by-side"]


def test_jobs_give_the_same_figures_as_one_after_another(capsys, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the command would set it for this process, too
    assert main([*TWO, "--seeds", "2", "--jobs", "3"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "digits, the quick form, seeds 0, 1, on cpu" in said.out
    assert main(["run", "digits", "--quick", "--seeds", "2", "--out", "in-turn"]) == 0
    assert result("digits", "side-by-side")["figures"] == result("digits", "in-turn")["figures"]
    assert result("000-toy-tanh", "side-by-side")["seeds"] == [0, 1]


def test_a_failure_in_another_process_is_told_in_a_sentence(capsys, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PORTANET_DATA", "nowhere")
    assert main(["run", "003-mlp", "000-toy-tanh", "--quick", "--jobs", "2"]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("experiments: 003-mlp, seed 0: PORTANET_DATA is 'nowhere', which is not a folder")
    assert said.err.count("\n") == 1
    assert "000-toy-tanh, the quick form" in said.out


def lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_interrupted_jobs_end_and_go_on_later(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def interrupt(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Study, "summarise", interrupt)  # as soon as one has ended
        assert main([*TWO, "--seeds", "3", "--jobs", "2"]) == 130
    # Not by join: the pool's own thread may be the one that sees a process end, and then nobody else does.
    begun = monotonic()
    while any(map(lives, pids := [process.pid for process in active_children()])) and monotonic() < begun + 60:
        sleep(0.05)
    assert not any(map(lives, pids))
    kept = {path: path.stat().st_mtime_ns for path in Path("side-by-side").rglob("seed-*.json")}
    assert kept
    assert main([*TWO, "--seeds", "3"]) == 0
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert result("digits", "side-by-side")["seeds"] == [0, 1, 2]


def test_a_process_that_dies_is_told_of(capsys, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("experiments.runner.jobs._serve", os.abort)
    assert main([*TWO, "--jobs", "2"]) == 1
    assert capsys.readouterr().err.count("a process was ended from outside, perhaps for lack of memory") == 2


def test_a_process_that_dies_takes_along_only_what_runs_beside_it(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    tasks = [Task(Study(discover()["digits"], "cpu", Path("digits"), quick=True), seed, False) for seed in range(5)]
    outcomes = {}
    for task, mistake in run_all(tasks, jobs=2):
        outcomes[task.seed] = mistake
        if len(outcomes) == 1:
            os.kill(active_children()[0].pid, signal.SIGKILL)
    assert outcomes.keys() == set(range(5))
    failed = [seed for seed, mistake in outcomes.items() if mistake]
    assert len(failed) <= 2
    assert all("ended from outside" in outcomes[seed] for seed in failed)
    assert outcomes[4] == ""


def test_other_code_than_that_of_the_record_is_told_of(capsys, monkeypatch):
    assert main(["run", "digits", "--quick"]) == 0
    assert main(["run", "digits", "--quick"]) == 0
    assert "digits is finished already; --force runs it again" in capsys.readouterr().err
    monkeypatch.setattr(Experiment, "code", lambda self: "other")
    assert main(["run", "digits", "--quick"]) == 0
    assert "digits has results of other code than it has now; --force runs it anew" in capsys.readouterr().err
    assert main(["run", "digits", "--quick", "--seeds", "2"]) == 0
    assert "digits has results of other code than it has now" in capsys.readouterr().err


def test_a_run_does_not_write_over_one_of_another_form(capsys):
    assert main(["run", "digits", "--quick", "--out", "here"]) == 0
    capsys.readouterr()
    before = Path("here/digits/seed-0.json").read_bytes()
    said = refused(capsys, 2, "run", "digits", "--force", "--out", "here")
    assert f"{Path('here/digits')} holds runs of the other form or of another device: give another --out" in said
    assert Path("here/digits/seed-0.json").read_bytes() == before
