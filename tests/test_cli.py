import subprocess
import sys
from importlib.metadata import entry_points

import pytest

import portanet
from portanet.__main__ import info, main
from portanet.backends import Device


def test_info_from_a_shell() -> None:
    command = [sys.executable, "-W", "error", "-m", "portanet", "info"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[0] == f"portanet   {portanet.__version__}"
    assert not result.stderr


def test_the_command_is_installed() -> None:
    (command,) = entry_points(group="console_scripts", name="portanet")
    assert command.load() is main


def test_info_shows_versions_and_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTANET_DEVICE", "strict")
    text = info()
    for device in portanet.devices():
        assert f"\n  {device.name:<8} {'usable' if device.usable else 'absent'}" in text
    for library in ("numpy", "array_api_compat", "safetensors"):
        assert f"{library} {sys.modules[library].__version__}" in text
    assert "\npython     3." in text
    assert "\ndtype      float32 by default" in text
    assert "\ndevice     strict by default" in text


def test_long_reasons_are_wrapped_and_indented(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = "import cupy failed: " + "a shared library was not found " * 8
    monkeypatch.setattr(portanet, "devices", lambda: [Device("cuda", False, reason)])
    lines = info().splitlines()
    assert max(map(len, lines)) <= 100
    first, *rest = lines[lines.index("devices") + 1 :]
    assert first.startswith("  cuda     absent  import cupy failed: a shared")
    assert len(rest) > 1
    assert {line[:19] for line in rest} == {" " * 19}
    assert " ".join(line.strip() for line in (first[19:], *rest)) == reason.strip()


def test_info_works_without_threadpoolctl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    assert "cores (install threadpoolctl to show" in " ".join(info().split())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"portanet {portanet.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["infos"], ["info", "cuda"]], ids=" ".join)
def test_invalid_arguments_exit_with_2_and_print_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    out, err = capsys.readouterr()
    assert (stop.value.code, out) == (2, "")
    assert "usage: portanet" in err


def test_no_arguments_print_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([])
    assert "info      print versions, devices and threads" in capsys.readouterr().err
