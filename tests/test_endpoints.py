"""Settings files: unknown keys are refused by name, paths start at the file's folder, one store of two."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from federation.audit.view import LedgerView
from federation.endpoints import (
    MASKED,
    LedgerSettings,
    PollSeconds,
    Section,
    StoreSettings,
    await_final,
    check_url,
    effective,
    load_settings,
    open_ledger,
    open_store,
    shown_url,
)
from federation.errors import Refused, Unavailable
from federation.rehearsal import AUDITOR
from federation.store.content import Absent, get_bytes, put_bytes
from federation.store.directory import DirectoryStore
from federation.store.retrying import RetryingStore
from federation.store.unixfs import cid_of

from .rehearsing import rehearse
from .test_ipfs import ROOT, honest, serving

ADDRESS = "0x" + "Ab" * 20


class Example(Section):
    identity: Path
    count: int = 1
    ledger: LedgerSettings | None = None
    store: StoreSettings = StoreSettings()


def load(folder: Path, text: str) -> Example:
    (folder / "example.toml").write_text(text)
    return load_settings(Example, folder / "example.toml")


def test_relative_paths_start_at_the_files_folder_wherever_we_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "here" / "example.toml").write_text('identity = "keys"\n[store]\ndirectory = "../content"\n')
    monkeypatch.chdir(tmp_path / "there")
    settings = load_settings(Example, Path("../here/example.toml"))
    assert settings.identity == tmp_path / "here" / "keys"
    assert settings.store.directory is not None
    assert settings.store.directory.resolve() == tmp_path / "content"


def test_absolute_paths_stay(tmp_path: Path) -> None:
    assert load(tmp_path, 'identity = "/etc/keys"').identity == Path("/etc/keys")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('identity = "x"\nidentiy = "y"', "identiy: unknown key: check its spelling, or remove it"),
        ('identity = "x"\n[store]\nfolder = "y"', "store.folder: unknown key"),
        ('identity = "x"\n[stores]', "stores: unknown key"),
        ("count = 2", "identity: missing key: add it"),
        ('identity = "x"\ncount = "many"', "count: Input should be a valid integer"),
        ('identity = "x"\n[ledger]\nurl = "http://x"', "ledger.contract: missing key"),
        ("identity = ", "expected TOML"),
        ('identity = "x"\nidentity = "y"', "expected TOML"),
    ],
)
def test_a_mistake_is_refused_with_file_and_key(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(Refused, match=r"example\.toml") as caught:
        load(tmp_path, text)
    assert words in str(caught.value)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"identity: missing key.*count.*typo: unknown key"):
        load(tmp_path, 'count = "many"\ntypo = 1')


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be read: No such file"):
        load_settings(Example, tmp_path / "nowhere.toml")
    (tmp_path / "latin.toml").write_bytes(b'identity = "\xfc"')
    with pytest.raises(Refused, match=r"latin\.toml: expected TOML in UTF-8"):
        load_settings(Example, tmp_path / "latin.toml")


def ledger(**changes: object) -> LedgerSettings:
    lawful: dict[str, object] = {
        "url": "http://127.0.0.1:1",
        "contract": ADDRESS,
        "chain_id": 1,
        "deployment_block": 0,
    }
    return LedgerSettings.model_validate(lawful | changes)


def test_an_address_may_be_written_in_either_case() -> None:
    assert ledger().contract == ADDRESS.lower()


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "127.0.0.1:8545"},
        {"url": "ftp://127.0.0.1"},
        {"url": "http://"},
        {"url": "http://h:99999"},
        {"url": "http://h:0"},
        {"url": "http://h:port"},
        {"url": "http://[::1"},
        {"url": ""},
        {"contract": "0x12"},
        {"contract": "not an address"},
        {"chain_id": 0},
        {"deployment_block": -1},
        {"confirmations": -1},
        {"confirmations": 1001},
        {"code": "0x12"},
        {"code": "zz" * 32},
        {"most_gwei": 0},
        {"late_seconds": -1},
    ],
    ids=str,
)
def test_a_ledger_that_cannot_be_one_is_refused_before_anything_is_asked(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    (key,) = changes
    lines = {"url": "http://127.0.0.1:1", "contract": ADDRESS, "chain_id": 1, "deployment_block": 0} | changes
    text = "\n".join(f"{k} = {v!r}" for k, v in lines.items())
    with pytest.raises(Refused, match=f"ledger.{key}"):
        load(tmp_path, f'identity = "x"\n[ledger]\n{text}')


def test_a_node_is_no_witness_of_its_own(tmp_path: Path) -> None:
    where = f'identity = "x"\n[ledger]\nurl = "http://h:1"\ncontract = "{ADDRESS}"\nchain_id = 1\n'
    where += "deployment_block = 0\n"
    for also in ('["http://h:1/"]', '["http://g:1", "http://g:1"]'):
        with pytest.raises(Refused, match="ledger: also: a node cannot be its own witness"):
            load(tmp_path, where + f"also = {also}")
    with pytest.raises(Refused, match=r"ledger\.also\.0: expected http"):
        load(tmp_path, where + 'also = ["h:1"]')
    with pytest.raises(Refused, match="agreeing: expected at most the 2 nodes named, found 3"):
        load(tmp_path, where + 'also = ["http://g:1"]\nagreeing = 3')
    found = load(tmp_path, where + f'also = ["http://g:1"]\ncode = "0x{"AB" * 32}"').ledger
    assert found is not None
    assert (found.also, found.code) == (("http://g:1",), "ab" * 32)


@pytest.mark.parametrize("seconds", ["0", "0.04", "3601", "nan", "inf", "-1"])
def test_polls_are_neither_too_many_nor_too_few(tmp_path: Path, seconds: str) -> None:
    class Polling(Section):
        poll_seconds: PollSeconds = 2

    path = tmp_path / "polling.toml"
    path.write_text(f"poll_seconds = {seconds}")
    with pytest.raises(Refused, match=r"poll_seconds: expected 0\.05 to 3600 seconds: below, "):
        load_settings(Polling, path)
    path.write_text("poll_seconds = 0.05")
    assert load_settings(Polling, path).poll_seconds == 0.05


def test_a_ledger_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:1"):
        open_ledger(ledger(url="http://someone:secret@127.0.0.1:1/path"), None)


def test_exactly_one_store_is_opened(tmp_path: Path) -> None:
    folder = open_store(StoreSettings(directory=tmp_path / "content"))
    assert isinstance(folder, DirectoryStore)
    assert isinstance(open_store(StoreSettings(ipfs="/ip4/127.0.0.1/tcp/1/http")), RetryingStore)
    for none_or_both in (
        StoreSettings(),
        StoreSettings(directory=tmp_path / "content", ipfs="/ip4/127.0.0.1/tcp/1/http"),
    ):
        with pytest.raises(Refused, match="exactly one of `directory` and `ipfs`"):
            open_store(none_or_both)


def test_what_our_own_store_lacks_is_read_from_its_fallbacks(tmp_path: Path) -> None:
    text = 'identity = "x"\n[store]\ndirectory = "own"\n[[store.fallback]]\ndirectory = "theirs"\n'
    store = open_store(load(tmp_path, text).store)
    cid = put_bytes(DirectoryStore(tmp_path / "theirs"), b"content")
    assert get_bytes(store, cid, size=7) == b"content"
    assert not DirectoryStore(tmp_path / "own").has(cid)
    with pytest.raises(Absent, match=r"own; .*theirs"):
        get_bytes(store, cid_of([b"nobody has this"]), size=15)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[store.fallback]]\nretain_rounds = 1", "store.fallback.0.retain_rounds: unknown key"),
        ("[store]\nretain_rounds = 0", "store.retain_rounds: Input should be greater than or equal to 1"),
        ("[store]\ntimeout_seconds = 0", "store.timeout_seconds"),
        ("[store]\nattempts = 11", "store.attempts"),
    ],
)
def test_what_cannot_be_said_of_a_store_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(Refused, match=r"example\.toml") as caught:
        load(tmp_path, f'identity = "x"\n{text}')
    assert words in str(caught.value)


def test_a_secret_beside_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="`authorization_file` is for `ipfs`"):
        open_store(StoreSettings(directory=tmp_path, authorization_file=tmp_path / "secret"))


def test_our_own_daemon_hears_our_secret_and_no_fallback_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs").write_text("basic us:for them\n")
    monkeypatch.setenv("TALLY_STORE_AUTHORIZATION", "bearer for-us")
    with serving(honest) as own, serving(honest) as other, serving(honest) as guarded:
        own.blocks.clear()
        other.blocks.clear()
        text = 'identity = "x"\n[store]\nipfs = "{}"\n[[store.fallback]]\nipfs = "{}"\n'
        text += '[[store.fallback]]\nipfs = "{}"\nauthorization_file = "theirs"\n'
        ports = [server.server_port for server in (own, other, guarded)]
        settings = load(tmp_path, text.format(*(f"/ip4/127.0.0.1/tcp/{port}" for port in ports)))
        assert open_store(settings.store).has(ROOT)
        heard = [server.calls[0][2].get("Authorization") for server in (own, other, guarded)]
    assert heard == ["Bearer for-us", None, f"Basic {b64encode(b'us:for them').decode()}"]


def test_effective_settings_mask_where_a_stores_secrets_lie(tmp_path: Path) -> None:
    text = 'identity = "x"\n[store]\nipfs = "/ip4/127.0.0.1/tcp/1"\nauthorization_file = "secret-1"\n'
    text += '[[store.fallback]]\nipfs = "/ip4/127.0.0.1/tcp/2"\nauthorization_file = "secret-2"\n'
    shown = effective(load(tmp_path, text))
    assert "secret" not in str(shown)
    assert shown["store"]["fallback"][0]["authorization_file"] == MASKED
    assert shown["store"]["fallback"][0]["ipfs"] == "/ip4/127.0.0.1/tcp/2"


def test_a_folder_that_cannot_be_a_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Refused, match=r"cannot use .*file"):
        open_store(StoreSettings(directory=tmp_path / "file"))


def test_settings_never_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        ledger().chain_id = 2


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8545", "http://127.0.0.1:8545"),
        ("https://node.example/", "https://node.example"),
        ("https://node.example/v3/secret", "https://node.example/********"),
        ("https://node.example?key=secret", "https://node.example/********"),
        ("https://someone:secret@node.example:1", "https://node.example:1/********"),
        ("http://[::1]:8545/secret", "http://[::1]:8545/********"),
    ],
)
def test_of_a_url_only_scheme_host_and_port_are_shown(url: str, shown: str) -> None:
    assert shown_url(check_url(url)) == shown


def test_a_url_that_is_none_is_not_quoted() -> None:
    for url in ("http://h:99999/secret", "secret", "ftp://secret"):
        with pytest.raises(ValueError, match="expected http") as caught:
            check_url(url)
        assert "secret" not in str(caught.value)


class Guarded(Section):
    password_file: Path | None = None
    reader: dict[str, Path | None] | None = None
    ledger: LedgerSettings


def test_effective_settings_mask_urls_and_password_files_at_any_depth() -> None:
    keyed = ledger(url="https://someone:secret@node.example/secret", also=["https://g/secret"])
    settings = Guarded(password_file=Path("secret"), reader={"password_file": Path("secret")}, ledger=keyed)
    shown = effective(settings)
    assert "secret" not in str(shown)
    assert shown["password_file"] == "********"
    assert shown["ledger"]["chain_id"] == 1
    assert effective(Guarded(ledger=keyed))["password_file"] is None


def test_a_call_is_waited_for_until_the_view_shows_it_and_not_for_ever() -> None:
    rehearsal = rehearse()
    view = LedgerView(rehearsal.ledger(AUDITOR))
    rehearsal.run_round()
    newest = rehearsal.ledger(AUDITOR).head().number
    await_final(view, newest)
    assert view.head.number == newest
    with pytest.raises(Unavailable, match="not final after 0 s"):
        await_final(view, newest + 1000, within=0)
