"""``python -m experiments``: its output, and one-sentence errors with an exit code."""

import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from multiprocessing import active_children
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NoReturn

import pytest

import portanet
from experiments.__main__ import main
from experiments.runner import Experiment, Study, discover
from experiments.runner.jobs import Processes, Task, run_all
from experiments.runner.results import cores
from experiments.runner.run import Run

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _default_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PORTANET_DEVICE", raising=False)
    monkeypatch.setenv("COLUMNS", "10000")
    monkeypatch.chdir(tmp_path)


def error_of(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    """Run a command that must fail, and return its only line on stderr."""
    assert main(list(arguments)) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("experiments: ")
    return captured.err


def test_list_shows_id_what_source_data_and_reported_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    for experiment in discover().values():
        for part in (experiment.id, experiment.what, experiment.source, experiment.data, *[*experiment.reported][:8]):
            assert part in shown
        assert (f"and {len(experiment.reported) - 8} more" in shown) is (len(experiment.reported) > 8)
    assert "test accuracy, lr 0.5: 0.9466" in shown


def test_list_as_json_prints_the_records(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert records == [experiment.record() for experiment in discover().values()]
    assert next(record for record in records if record["id"] == "digits")["reported"] == {
        "test accuracy": {"value": 0.97, "better": "higher"}
    }


def test_list_imports_neither_matplotlib_nor_scikit_learn() -> None:
    code = (
        "import sys; from experiments.__main__ import main; main(['list']);"
        "sys.exit(bool({'matplotlib', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False).returncode == 0


def test_closed_pipe_is_not_an_error() -> None:
    command = [sys.executable, "-m", "experiments", "list"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as listing:
        assert listing.stdout is not None
        assert listing.stderr is not None
        listing.stdout.close()
        assert listing.stderr.read() == b""
    assert listing.returncode == 1


def test_without_a_command_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Start with: python -m experiments run digits" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["list", "--help"], ["report", "--help"]], ids=" ".join
)
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
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
def test_unknown_id_suggests_similar_ids(asked: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"unknown experiment {asked!r}; {hint}" in error_of(capsys, 2, "run", "digits", asked)
    assert not Path("results").exists()


@pytest.mark.parametrize(("option", "minimum"), [("--seed", 0), ("--seeds", 1), ("--jobs", 1)])
@pytest.mark.parametrize("number", ["-1", "1.5", "one", ""])
def test_numbers_are_integers(option: str, minimum: int, number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["run", "digits", option, number])
    assert f"{option}: must be an integer of at least {minimum}, got {number!r}" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--seeds", "--jobs"])
def test_zero_seeds_or_jobs_are_an_error(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["run", "digits", option, "0"])
    assert f"{option}: must be an integer of at least 1, got '0'" in capsys.readouterr().err


def test_unknown_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert "device 'gpu' is unknown (a GPU is 'cuda')" in error_of(capsys, 2, "run", "digits", "--device", "gpu")


def test_unavailable_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert "device 'cpu:1' does not exist" in error_of(capsys, 1, "run", "digits", "--device", "cpu:1")


@pytest.mark.parametrize("out", ["taken", "taken/below"])
def test_out_is_a_file(out: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("taken").write_text("kept")
    assert f"--out must be a writable folder, got {out}: " in error_of(capsys, 2, "run", "digits", "--out", out)
    assert Path("taken").read_text() == "kept"


def test_out_is_not_writable(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(dir: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("experiments.__main__.TemporaryFile", refuse)  # file modes do not apply to root
    assert "got results: Permission denied" in error_of(capsys, 2, "run", "digits")


def test_missing_data_are_an_error_and_other_experiments_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTANET_DATA", "nowhere")
    assert main(["run", "003-mlp", "digits", "--quick"]) == 1
    captured = capsys.readouterr()
    assert "experiments: 003-mlp, seed 0: PORTANET_DATA is 'nowhere', which is not a folder" in captured.err
    assert "Traceback" not in captured.err
    assert [path.name for path in Path("results", "quick").iterdir()] == ["digits"]


def test_missing_data_files_are_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pooch = pytest.importorskip("pooch", reason="pooch downloads")

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(pooch, "retrieve", refuse)
    monkeypatch.setattr(pooch, "os_cache", lambda name: Path("cache", name))
    Path("empty").mkdir()
    monkeypatch.setenv("PORTANET_DATA", "empty")
    assert main(["run", "003-mlp", "--quick"]) == 1
    captured = capsys.readouterr().err.splitlines()[-1]
    assert captured.startswith("experiments: 003-mlp, seed 0: could not download https://")
    assert captured.endswith(
        "(OSError); place train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and "
        "t10k-labels-idx1-ubyte.gz by hand in the folder mnist/ of the folder that PORTANET_DATA names, 'empty'"
    )


def test_missing_package_of_a_data_set(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert main(["run", "digits", "--quick"]) == 1
    captured = capsys.readouterr().err
    assert captured.endswith(
        "experiments: digits, seed 0: digits needs scikit-learn: pip install 'portanet[experiments]'\n"
    )


def test_missing_package_of_an_experiment(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*_: Any, **__: Any) -> NoReturn:
        raise ModuleNotFoundError("No module named 'skimage'")

    monkeypatch.setattr(portanet.Trainer, "fit", fit)
    assert main(["run", "digits", "--quick"]) == 1
    assert "digits, seed 0: No module named 'skimage': pip install 'portanet[experiments]'\n" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["matplotlib", "tqdm"])
def test_missing_package_is_an_error_before_the_training(
    package: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    captured = error_of(capsys, 1, "run", "digits")
    assert captured == f"experiments: pictures and progress need {package}: pip install 'portanet[experiments]'\n"


def test_divergence_is_a_one_sentence_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(*_: Any, **__: Any) -> NoReturn:
        raise portanet.Diverged("the loss became nan at step 3 of epoch 1", portanet.History())

    monkeypatch.setattr(portanet.Trainer, "fit", fit)
    assert main(["run", "digits", "--quick"]) == 1
    assert "experiments: digits, seed 0: the loss became nan at step 3 of epoch 1\n" in capsys.readouterr().err


Claims = tuple[dict[str, Experiment], list[tuple[str, int, bool]]]


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch) -> Claims:
    """Two experiments whose figure is the seed, and the list of runs."""
    ran = []

    def function(run: Run) -> dict[str, int]:
        ran.append((run.id, run.seed, run.draw))
        return {"seed": run.seed}

    known = {id: Experiment(id, "nobody", "nothing", "nothing", "", {}, function) for id in ("001-a", "002-b")}
    monkeypatch.setattr("experiments.__main__.discover", lambda: known)
    return known, ran


def result(id: str, folder: str = "results") -> dict[str, Any]:
    return json.loads(Path(folder, id, "result.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("ids", "chosen"),
    [(["001"], ["001-a"]), (["all"], ["001-a", "002-b"]), (["002-b", "001", "all", "001-a"], ["002-b", "001-a"])],
)
def test_ids_of_experiments_sources_and_all_are_run_once(ids: list[str], chosen: list[str], claims: Claims) -> None:
    assert main(["run", *ids]) == 0
    assert [id for id, _, _ in claims[1]] == chosen


def test_ours_is_a_source() -> None:
    assert {experiment.group for experiment in discover().values()} >= {"000", "001", "003", "ours"}
    assert discover()["digits"].group == "ours"


def test_finished_seeds_do_not_run_again(claims: Claims, capsys: pytest.CaptureFixture[str]) -> None:
    _, ran = claims
    assert main(["run", "001-a", "--seed", "4"]) == 0
    assert main(["run", "001-a", "--seed", "4", "--seeds", "3"]) == 0
    assert ran == [("001-a", 4, True), ("001-a", 5, False), ("001-a", 6, False)]
    assert result("001-a")["seeds"] == [4, 5, 6]
    assert result("001-a")["figures"]["seed"]["ours"] == 5
    capsys.readouterr()
    assert main(["run", "001-a", "--seed", "4"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "experiments: 001-a is already finished; --force runs it again\n"
    assert "seed  5 ± 1\n" in captured.out
    assert len(ran) == 3
    assert main(["run", "001-a", "--seed", "4", "--force"]) == 0
    assert ran[3:] == [("001-a", 4, True)]


def test_pictures_are_those_of_the_lowest_seed(claims: Claims) -> None:
    assert main(["run", "001-a", "--seed", "1"]) == 0
    assert main(["run", "001-a", "--seeds", "2"]) == 0
    assert claims[1] == [("001-a", 1, True), ("001-a", 0, True)]


def test_quick_runs_have_another_folder(claims: Claims) -> None:
    assert main(["run", "all"]) == 0
    before = {path: path.read_bytes() for path in Path("results").rglob("*") if path.is_file()}
    assert main(["run", "all", "--quick"]) == 0
    assert result("001-a", "results/quick")["quick"] is True
    assert {path: path.read_bytes() for path in before} == before


def test_bug_in_an_experiment_prints_a_traceback_and_others_run(
    claims: Claims, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known, ran = claims

    def wrong(run: Run) -> dict[str, float]:
        return {"share": 1 / run.seed}

    known["001-a"] = Experiment("001-a", "nobody", "nothing", "nothing", "", {}, wrong)
    assert main(["run", "all", "--seeds", "2"]) == 1
    captured = capsys.readouterr()
    assert "experiments: 001-a, seed 0: Traceback" in captured.err
    assert "in wrong\n" in captured.err
    assert result("001-a")["seeds"] == [1]
    assert "001-a, seed 1, on cpu" in captured.out
    assert [id for id, _, _ in ran] == ["002-b", "002-b"]


def test_interrupted_run_continues(
    claims: Claims, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, ran = claims
    finish = Study.measure

    def interrupted(self: Study, seed: int, **options: bool) -> None:
        if seed == 1:
            raise KeyboardInterrupt
        finish(self, seed, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Study, "measure", interrupted)
        assert main(["run", "all", "--seeds", "3"]) == 130
    assert "\nexperiments: interrupted; finished seeds are kept" in capsys.readouterr().err
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


def test_interrupted_forced_run_keeps_older_results(claims: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
    known, _ = claims
    assert main(["run", "001-a"]) == 0
    before = {path.name: path.read_bytes() for path in Path("results", "001-a").iterdir()}

    def interrupt(run: Run) -> NoReturn:
        raise KeyboardInterrupt

    known["001-a"] = Experiment("001-a", "nobody", "nothing", "nothing", "", {}, interrupt)
    assert main(["run", "001-a", "--force"]) == 130
    assert {path.name: path.read_bytes() for path in Path("results", "001-a").iterdir()} == before


TWO = ["run", "000-toy-tanh", "digits", "--quick", "--out", "side-by-side"]


def test_parallel_jobs_give_the_same_figures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert main([*TWO, "--seeds", "2", "--jobs", "3"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "digits, quick, seeds 0, 1, on cpu" in captured.out
    assert "OMP_NUM_THREADS" not in os.environ
    threads = max(1, cores() // 3)
    record = json.loads(Path("side-by-side", "digits", "seed-0.json").read_text(encoding="utf-8"))
    assert f", {threads} of {cores()} cores, " in record["device"]["machine"]
    assert main(["run", "digits", "--quick", "--seeds", "2", "--out", "in-turn"]) == 0
    assert result("digits", "side-by-side")["figures"] == result("digits", "in-turn")["figures"]
    assert result("000-toy-tanh", "side-by-side")["seeds"] == [0, 1]
    names = [{path.name for path in Path(folder, "digits").iterdir()} for folder in ("side-by-side", "in-turn")]
    assert names[0] == names[1]


def test_one_job_imports_neither_joblib_nor_dask(tmp_path: Path) -> None:
    code = (
        "import sys; from experiments.__main__ import main;"
        f"code = main(['run', '000-toy-tanh', '--quick', '--out', {str(tmp_path)!r}]);"
        "sys.exit(code or bool({'joblib', 'distributed'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False).returncode == 0


def test_failure_in_another_process_is_a_one_sentence_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTANET_DATA", "nowhere")
    assert main(["run", "003-mlp", "000-toy-tanh", "--quick", "--jobs", "2"]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("experiments: 003-mlp, seed 0: PORTANET_DATA is 'nowhere', which is not a folder")
    assert captured.err.count("\n") == 1
    assert "000-toy-tanh, quick" in captured.out


def is_alive(pid: int | None) -> bool:
    assert pid is not None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for_end(pids: list[int | None]) -> None:
    begin = monotonic()
    while any(map(is_alive, pids)) and monotonic() < begin + 60:
        sleep(0.05)
    assert not any(map(is_alive, pids))


def test_interrupted_jobs_end_and_continue_later(monkeypatch: pytest.MonkeyPatch) -> None:
    pids: list[int | None] = []

    def interrupt(self: Study) -> NoReturn:
        pids.extend(process.pid for process in active_children())
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Study, "summarise", interrupt)  # as soon as one is finished
        assert main([*TWO, "--seeds", "3", "--jobs", "2"]) == 130
    assert len(pids) == 2
    wait_for_end(pids)
    kept = {path: path.stat().st_mtime_ns for path in Path("side-by-side").rglob("seed-*.json")}
    assert kept
    assert main([*TWO, "--seeds", "3"]) == 0
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert result("digits", "side-by-side")["seeds"] == [0, 1, 2]


def test_jobs_end_when_the_command_is_killed() -> None:
    command = [sys.executable, "-m", "experiments", *TWO, "--seeds", "9", "--jobs", "2", "--out", str(Path.cwd())]
    psutil = pytest.importorskip("psutil", reason="psutil finds the processes of the command")
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        begin = monotonic()
        while not (started := [*Path("000-toy-tanh").glob("seed-*.json")]) and monotonic() < begin + 60:
            sleep(0.05)
        pids = [child.pid for child in psutil.Process(process.pid).children()]
        process.kill()
    assert started
    assert len(pids) >= 2
    wait_for_end(pids)


def test_killed_process_is_an_error(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.runner.jobs._start_worker", abort)
    assert main([*TWO, "--jobs", "2"]) == 1
    assert capsys.readouterr().err.count("the process was killed, perhaps for lack of memory") == 2


def abort(parent: int) -> NoReturn:
    os.abort()


def test_killed_process_fails_only_its_own_task() -> None:
    tasks = [Task(Study(discover()["digits"], "cpu", Path("digits"), quick=True), seed, False) for seed in range(5)]
    outcomes = {}
    for task, error in run_all(tasks, jobs=2):
        outcomes[task.seed] = error
        if len(outcomes) == 1:
            pid = active_children()[0].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
    assert outcomes.keys() == set(range(5))
    failed = [seed for seed, error in outcomes.items() if error]
    assert len(failed) <= 1  # the process may have been idle
    assert all("the process was killed" in outcomes[seed] for seed in failed)
    assert outcomes[4] == ""


def test_process_killed_while_idle_is_replaced() -> None:
    task = Task(Study(discover()["000-toy-tanh"], "cpu", Path("toy"), quick=True), 0, False)
    with closing(Processes(1)) as pool:
        assert pool.outcome(pool.submit(task)) == ""
        pid = active_children()[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_for_end([pid])
        sleep(0.5)  # until the executor has noticed
        assert pool.outcome(pool.submit(task)) == ""


def test_dask_needs_its_package(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "experiments.runner.cluster", raising=False)
    captured = error_of(capsys, 1, "run", "digits", "--dask", "localhost:8786")
    assert captured == "experiments: --dask needs distributed: pip install distributed\n"


def test_jobs_and_dask_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["run", "digits", "--jobs", "2", "--dask", "localhost:8786"])
    assert "--dask: not allowed with argument --jobs" in capsys.readouterr().err


def test_changed_code_is_a_warning(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["run", "digits", "--quick"]) == 0
    assert main(["run", "digits", "--quick"]) == 0
    assert "digits is already finished; --force runs it again" in capsys.readouterr().err
    monkeypatch.setattr(Experiment, "code", lambda self: "other")
    assert main(["run", "digits", "--quick"]) == 0
    assert "the code of digits has changed since its results; --force runs it again" in capsys.readouterr().err
    assert main(["run", "digits", "--quick", "--seeds", "2"]) == 0
    assert "the code of digits has changed since its results" in capsys.readouterr().err


def test_run_does_not_overwrite_another_form(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "digits", "--quick", "--out", "out"]) == 0
    capsys.readouterr()
    before = Path("out/digits/seed-0.json").read_bytes()
    captured = error_of(capsys, 2, "run", "digits", "--force", "--out", "out")
    assert f"{Path('out/digits')} has runs of another form or device; choose another --out" in captured
    assert Path("out/digits/seed-0.json").read_bytes() == before
