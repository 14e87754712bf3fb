"""A command ends with one line and a documented code, and a foreign error's words stay inside."""

from __future__ import annotations

import click
import pytest
import typer
from typer.testing import CliRunner

from federation.errors import ExitCode, LedgerRejected, Refused, TallyError, Unavailable, Violation
from federation.exits import TRACEBACK_VARIABLE, told_plainly


def ends(error: BaseException) -> tuple[int, str]:
    """Exit code and stderr of a command in which this happens."""
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    @told_plainly()
    def command(times: int = 1) -> None:
        """Fail."""
        assert times == 1
        raise error

    result = CliRunner().invoke(app, ["--times", "1"])
    return result.exit_code, result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Violation("§5.2", "too few updates pass"), ExitCode.VIOLATION),
        (Refused("not ours"), ExitCode.REFUSED),
        (LedgerRejected("NotYet"), ExitCode.REFUSED),
        (Unavailable("no answer"), ExitCode.UNAVAILABLE),
    ],
)
def test_our_errors_are_one_line_and_their_own_code(error: TallyError, code: ExitCode) -> None:
    assert ends(error) == (code, f"{type(error).__name__}: {error}\n")


def test_a_peers_words_command_no_terminal() -> None:
    error = Violation("§3.3", "a suite", expected="plain", found="x\x1b[2K\x1b[1A\r\nall agree\x9b8m")
    _, told = ends(error)
    assert told.endswith("x\\x1b[2K\\x1b[1A\\r\\nall agree\\x9b8m\n")
    assert told.rstrip("\n").isprintable()


def test_a_defect_asks_for_a_report_and_keeps_foreign_words_to_itself() -> None:
    code, said = ends(ValueError("patient 17"))
    assert code == ExitCode.INTERNAL
    assert said.count("\n") == 1
    assert "builtins.ValueError" in said
    assert TRACEBACK_VARIABLE in said
    assert "patient" not in said


def test_a_defect_shows_itself_when_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRACEBACK_VARIABLE, "1")
    with pytest.raises(ZeroDivisionError), told_plainly():
        raise ZeroDivisionError


def test_an_interrupt_is_what_shells_expect() -> None:
    assert ends(KeyboardInterrupt()) == (130, "")


@pytest.mark.parametrize("error", [typer.Exit(7), typer.BadParameter("no"), typer.Abort()])
def test_what_typer_raises_goes_through(error: Exception) -> None:
    with pytest.raises(type(error)), told_plainly():
        raise error


def test_a_plain_click_error_goes_through() -> None:
    with pytest.raises(click.ClickException), told_plainly():
        raise click.ClickException("usage")


@pytest.mark.parametrize(
    ("name", "install"),
    [
        ("torch", "tallystick[node]"),
        ("torch.nn", "tallystick[node]"),
        ("solcx", "tallystick[devnet]"),
        ("sklearn.datasets", "tallystick[demo]"),
        ("uvicorn", "tallystick"),
    ],
)
def test_a_package_that_is_missing_is_named_with_what_installs_it(name: str, install: str) -> None:
    package = name.partition(".")[0]
    code, said = ends(ModuleNotFoundError("no such module", name=name))
    assert code == ExitCode.REFUSED
    assert said == f"Refused: {package} is not installed here, or not whole: pip install '{install}'\n"


@pytest.mark.parametrize("name", [None, "federation.nowhere", "deploy"])
def test_a_module_of_ours_that_is_missing_is_a_defect(name: str | None) -> None:
    code, said = ends(ImportError("cannot import", name=name))
    assert code == ExitCode.INTERNAL
    assert "Internal defect" in said


def test_the_codes_are_the_documented_ones() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "OK": 0,
        "INTERNAL": 1,
        "USAGE": 2,
        "VIOLATION": 3,
        "REFUSED": 4,
        "UNAVAILABLE": 5,
    }


def test_a_violation_names_clause_culprit_and_both_values() -> None:
    fault = Violation("§5.4", "a share", culprit=b"\x01\x02", expected=b"\xaa", found=b"\xbb")
    assert ends(fault) == (3, "Violation: §5.4 a share (by 0x0102): expected 0xaa, found 0xbb\n")


@pytest.mark.parametrize("error", [KeyError("0xsecret"), RuntimeError("0xsecret"), OSError(5, "0xsecret")])
def test_a_defect_names_the_place_and_never_quotes_a_secret(error: Exception) -> None:
    code, said = ends(error)
    assert code == ExitCode.INTERNAL
    assert f"in {__name__}:" in said
    assert "0xsecret" not in said


def test_a_reader_that_has_gone_is_no_defect_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, told_plainly():
        raise BrokenPipeError
    assert ended.value.exit_code == 141
    assert capsys.readouterr().err == ""
