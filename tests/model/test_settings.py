"""Settings: defaults, bounds, and invalid stored values."""

from __future__ import annotations

import math
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl_nb.model.errors import BadInput, InvalidSetting
from queuectl_nb.model.retry import RetryPolicy
from queuectl_nb.model.settings import SETTINGS, Settings, get_setting

DAY, MIB = 86_400, 1024**2
EXPECTED = {
    "max_retries": (3, 1, 1000),
    "backoff_base": (2, 1, 1000),
    "backoff_max": (3600, 0, 30 * DAY),
    "backoff_jitter": (0, 0, 1),
    "timeout": (30, 0, 365 * DAY),
    "lease": (10, 2, 3600),
    "kill_grace": (5, 0, 600),
    "output_limit": (MIB, 0, 64 * MIB),
    "spool_limit": (1024 * MIB, 0, 1024**4),
    "artifact_limit": (1024 * MIB, 0, 1024**4),
    "display_limit": (16 * MIB, 0, 256 * MIB),
    "retention": (0, 0, 36_500),
}
NUMBERS = sorted(EXPECTED)
WHOLE = ("max_retries", "output_limit", "spool_limit", "artifact_limit", "display_limit")


def test_settings_table() -> None:
    """Keys, defaults and bounds are exactly the documented ones."""
    numbers = {key: row for key, row in SETTINGS.items() if row.kind in ("whole", "decimal")}
    assert {key: (row.default, row.low, row.high) for key, row in numbers.items()} == EXPECTED
    assert SETTINGS["shell"].default == "/bin/sh"
    assert SETTINGS["preload"].default == "auto"
    assert SETTINGS["keep_env"].default == (
        "PATH,VIRTUAL_ENV,CONDA_PREFIX,CONDA_DEFAULT_ENV,PYTHONPATH,CUDA_VISIBLE_DEVICES"
    )
    assert list(SETTINGS) == [*EXPECTED, "keep_env", "preload", "shell"]


@pytest.mark.parametrize("key", SETTINGS)
def test_help(key: str) -> None:
    """The help topic has the valid values and the meaning of each setting."""
    row = SETTINGS[key]
    topic = resources.files("queuectl_nb").joinpath("topics", "settings.md").read_text("utf-8")
    default = str(row.default).replace(",", ", ")
    assert f"| `{key}` | {default} | {row.bounds} | {row.meaning} |" in topic.splitlines()


def test_units() -> None:
    """A duration with a unit is converted to that of the setting; a number has it already."""
    assert [SETTINGS["retention"].parse(value) for value in ("36h", "7d", 7)] == [1.5, 7, 7]
    assert [SETTINGS["timeout"].parse(value) for value in ("90m", "1h30m", 90)] == [5400, 5400, 90]


def test_settings_fields() -> None:
    """``Settings`` has the keys of the table, and each default has the type of its field."""
    types = {"int": int, "float": int | float, "str": str}
    assert list(Settings._fields) == list(SETTINGS)
    for name, kind in Settings.__annotations__.items():
        assert isinstance(SETTINGS[name].default, types[kind.__forward_arg__]), name


@pytest.mark.parametrize("key", NUMBERS)
def test_bounds(key: str) -> None:
    """Both bounds are valid; values beyond them are refused with key and bounds."""
    row = SETTINGS[key]
    for value in (row.low, row.high, row.default):
        assert row.parse(value) == value
        assert row.parse(f"{value:.15g}") == value
    for value in (row.low - 1, row.high + 1, math.nextafter(row.high, math.inf), math.nan, math.inf, -math.inf):
        with pytest.raises(BadInput, match=f"^{key} must be "):
            row.parse(value)


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize(
    "value", ["banana", "", " 3", "1_0", "true", "\uff13", "nan", "inf", "3x", "3\n", True, None, [3]], ids=ascii
)
def test_invalid_numbers(key: str, value: object) -> None:
    """Values such as ``banana`` are refused for every setting."""
    with pytest.raises(BadInput, match=f"^{key} must be "):
        SETTINGS[key].parse(value)


@pytest.mark.parametrize("key", WHOLE)
def test_integers(key: str) -> None:
    """Numbers of attempts and bytes are integers."""
    with pytest.raises(BadInput):
        SETTINGS[key].parse("100.5")


@given(st.sampled_from(NUMBERS), st.data())
def test_values_round_trip(key: str, data: st.DataObject) -> None:
    """Every valid value is the same after it was stored as text."""
    row = SETTINGS[key]
    if row.kind == "whole":
        value = row.parse(data.draw(st.integers(int(row.low), int(row.high))))
    else:
        value = row.parse(data.draw(st.floats(row.low, row.high)))
    assert getattr(Settings.from_stored({key: str(value)}), key) == value


@pytest.mark.parametrize(
    ("value", "kept"),
    [("", ""), ("PATH", "PATH"), (" PATH , CONDA_* ,X?", "PATH,CONDA_*,X?"), ("*", "*"), ("[A-Z]*", "[A-Z]*")],
)
def test_keep_env(value: str, kept: str) -> None:
    """``keep_env`` is a comma-separated list of names and globs, or empty."""
    assert SETTINGS["keep_env"].parse(value) == kept


@pytest.mark.parametrize(
    ("value", "modules"),
    [("auto", "auto"), ("none", "none"), (" numpy , scipy.stats,_private ", "numpy,scipy.stats,_private")],
)
def test_preload(value: str, modules: str) -> None:
    """``preload`` is a comma-separated list of modules, or a word that is none."""
    assert SETTINGS["preload"].parse(value) == modules


@pytest.mark.parametrize("value", ["", "numpy,", "1numpy", "numpy scipy", "a..b", "a.1", "os;x", 5, None, ["numpy"]])
def test_invalid_preload(value: object) -> None:
    """Anything else is refused with an example."""
    with pytest.raises(BadInput, match=r"preload must be auto, none, or modules .*numpy,pandas"):
        SETTINGS["preload"].parse(value)


@pytest.mark.parametrize("value", ["/bin/bash", "bash -l", "'/opt/my shell/bash' -l -x"])
def test_shell(value: str) -> None:
    """A shell may have options and is kept verbatim."""
    assert SETTINGS["shell"].parse(value) == value


@pytest.mark.parametrize("value", ["", " ", "''", "bash 'x", "bash\n", "b\0", "x" * 2000, 5, None, ["bash"]])
def test_invalid_shell(value: object) -> None:
    """Anything else is refused in one line."""
    with pytest.raises(BadInput, match=r"^shell "):
        SETTINGS["shell"].parse(value)


@pytest.mark.parametrize("value", ["PATH;X", "A B", ",", "PATH,", "A=1", "\u00c4", "A\nB", "A\0", 5, None, ["PATH"]])
def test_invalid_keep_env(value: object) -> None:
    """Anything else is refused with an example."""
    with pytest.raises(BadInput, match=r"keep_env must be names and globs .*PATH,CONDA_\*"):
        SETTINGS["keep_env"].parse(value)


def test_keys() -> None:
    """``max-retries`` is ``max_retries``; the error for an unknown key lists all keys."""
    assert get_setting("max-retries") is SETTINGS["max_retries"]
    for key in ("max retries", "MAX_RETRIES", "", "' OR 1=1--"):
        with pytest.raises(BadInput, match=f"valid: {', '.join(SETTINGS)}$"):
            get_setting(key)


def test_defaults() -> None:
    """Settings that are not stored have their defaults."""
    defaults = {key: row.default for key, row in SETTINGS.items()}
    assert Settings.from_stored({}) == Settings(**defaults)  # type: ignore[arg-type]
    assert Settings.from_stored({"timeout": "5", "of_a_newer_version": "x"}) == Settings(**{**defaults, "timeout": 5})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_retries", "0"),
        ("backoff_base", "banana"),
        ("lease", b"\xff"),
        ("timeout", ""),
        ("keep_env", "A=1"),
        ("retention", "9" * 999),
    ],
)
def test_invalid_stored_value(key: str, value: object) -> None:
    """An invalid stored value is exit code 3, in one line with the key and the remedy."""
    with pytest.raises(InvalidSetting) as caught:
        Settings.from_stored({key: value})
    message = str(caught.value)
    assert caught.value.exit_code == 3
    assert caught.value.key == key
    assert message.startswith(f"invalid stored value for setting {key}: {key} ")
    assert f"'queuectl config set {key} VALUE' or 'queuectl config unset {key}'" in message
    assert message.isprintable()
    assert len(message) < 300


def test_job_values_take_precedence() -> None:
    """A job's own ``max_retries`` and ``timeout`` take precedence; a timeout of 0 means none."""
    now = Settings.from_stored({"max_retries": "5", "backoff_jitter": "0.5", "timeout": "7"})
    assert now.retry_policy(None) == RetryPolicy(5, 2, 3600, 0.5)
    assert now.retry_policy(1).max_retries == 1
    assert [now.timeout_for(own) for own in (None, 3, 0)] == [7, 3, None]
    assert Settings.from_stored({"timeout": "0"}).timeout_for(None) is None


@pytest.mark.parametrize("key", SETTINGS)
def test_descriptions(key: str) -> None:
    """Each setting has bounds and a description for ``config list`` and the docs."""
    assert SETTINGS[key].bounds
    assert SETTINGS[key].meaning
