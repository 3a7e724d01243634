"""The error message of an attempt: the line of its standard error that says why it failed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from queuectl_nb.model.attempt import Ending
from queuectl_nb.model.failure import MAX_ERROR_CHARS, Message, describe, read_message
from queuectl_nb.model.outcome import Cancelled, Exited, Lost, Outcome, Signalled, TimedOut

REMEDY = " (needs another shell, such as --shell 'bash -l')"

ONE_WORD_REMEDY = " (this is one word; give a line for the shell with --command)"

TASK_GROUP = """
import asyncio
async def fail(): raise OSError("bad")
async def main():
  async with asyncio.TaskGroup() as group: group.create_task(fail())
asyncio.run(main())
"""


def error_of(outcome: Outcome, ending: Ending) -> str | None:
    """Return the error message of an attempt."""
    return describe(outcome, read_message(outcome, ending))


def message(stderr: str | bytes, outcome: Outcome | None = None) -> str:
    """Return the part of the error that was found in the output, for exit code 1 by default."""
    error = error_of(outcome or Exited(1), Ending(0.0, stderr=stderr))
    assert error is not None
    return error.partition(": ")[2]


def run(source: str) -> bytes:
    """Return what a Python program writes to standard error."""
    command = [sys.executable, "-c", source]
    return subprocess.run(command, capture_output=True, check=False).stderr


@pytest.mark.parametrize(
    ("stderr", "expected"),
    [
        ("", ""),
        ("\n \n\t\n", ""),
        ("loading\nfatal: no such file\n\n  \n", "fatal: no such file"),
        (b"caf\xe9: no such file\n", "caf\ufffd: no such file"),
        ("\x1b[31merror\x1b[0m: \x1b]8;;http://x\x07bad\x1b]8;;\x07 value\x1b[K\r\n", "error: bad value"),
        ("  a \u2028 b\tc \n", "a b c"),
        ("Error: x\n======\n+---+\n130\n", "Error: x"),
        ("Error in f(x) :\n  no rows\nIn addition: Warning message:\nNAs introduced\nExecution halted\n", "no rows"),
        ("EXIT STRING: Killed (signal 9)\nPlease see the FAQ page for suggestions\n", "EXIT STRING: Killed (signal 9)"),
        # progress displays
        ("Error: x\n\r 10%|#   | 1/9 [00:01<00:08]\r 20%|##  | 2/9 [00:02<00:07]", "Error: x"),
        ("Error: x\n100%|██████████| 9/9 [00:00<00:00, 9.1it/s]\n", "Error: x"),
        ("Error: x\nEpoch 1: loss 0.31\rEpoch 2: loss 0.30\r\n", "Error: x"),
        ("Error: x\n   ━━━━━━━━━━━━━━ 12.0/31.2 MB 4.1 MB/s\n", "Error: x"),
        ("Error: x\n[=====>        ] 38%\n", "Error: x"),
        ("\r 10%\r 20%\rError: disk full\n", "Error: disk full"),
        ("\rError: disk full\n", "Error: disk full"),
        # what other programs write after the message
        ("Error in f(1) : no data\nCalls: f\nExecution halted\n", "Error in f(1) : no data"),
        (
            "cc: fatal error: no input files\nmake[1]: *** [Makefile:2: all] Error 1\n",
            "cc: fatal error: no input files",
        ),
        ("x.js:1\nError: bad\n    at f (x.js:1:7)\n    at node:internal\n\nNode.js v20.1.0\n", "Error: bad"),
        (
            'Exception in thread "main" E: bad\n\tat A.main(A.java:3)\n\t... 3 more\n',
            'Exception in thread "main" E: bad',
        ),
        ("panicked at x.rs:2:5:\nbad rate\nnote: run with `RUST_BACKTRACE=1` environment variable\n", "bad rate"),
        ("Error: x\n/a/b.py:7: UserWarning: slow\n  warnings.warn('slow')\n", "Error: x"),
        ("bash: cannot set terminal process group (-1): x\nbash: no job control in this shell\n", ""),
    ],
)
def test_last_line_that_says_something(stderr: str | bytes, expected: str) -> None:
    """Blank lines, progress displays, escape sequences, stack frames and warnings are skipped."""
    assert message(stderr) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("open('missing.csv')", "FileNotFoundError: [Errno 2] No such file or directory: 'missing.csv'"),
        ("raise ValueError('first\\nsecond\\nthird')", "ValueError: first"),
        ("raise RuntimeError('\\n\\n   An attempt was made')", "RuntimeError: An attempt was made"),
        ("try:\n  1 / 0\nexcept ZeroDivisionError as e:\n  raise KeyError('a') from e", "KeyError: 'a'"),
        ("raise RuntimeError('\\n')", "RuntimeError:"),
        ("e = ValueError('bad'); e.add_note('a note'); raise e", "ValueError: bad"),
        ("raise AssertionError", "AssertionError"),
        (TASK_GROUP, "OSError: bad"),
        ("def f(): f()\nf()", "RecursionError: maximum recursion depth exceeded"),
        ("f(", "SyntaxError: '(' was never closed"),
        ("import sys; sys.exit('bad config')", "bad config"),
        ("class C:\n  def __del__(self): 1 / 0\nc = C()\nraise ValueError('bad')", "ValueError: bad"),
        (
            "import warnings\ndef f(): raise ValueError('bad')\ntry: f()\nfinally: warnings.warn('late')",
            "ValueError: bad",
        ),
        ("import faulthandler, os; faulthandler.enable(); os.abort()", "Fatal Python error: Aborted"),
    ],
)
def test_python_exceptions(source: str, expected: str) -> None:
    """Of a traceback it is the exception, whatever the message and what follows."""
    assert message(run(source)) == expected


@pytest.mark.parametrize("where", ["in: <function f>", "while calling deallocator <function f>:"])
def test_lines_after_a_traceback(where: str) -> None:
    """What a launcher or an exception that was ignored at exit writes does not hide the exception."""
    raised = run("raise ValueError('bad')").decode()
    ignored = f"Exception ignored {where}\n" + run("1 / 0").decode()
    assert message(raised + "srun: error: node1: task 0: Exited with exit code 1\n") == "ValueError: bad"
    assert message(raised + ignored) == "ValueError: bad"


@pytest.mark.parametrize("before", ["step 5... ", "\r4/10\r5/10", "[rank0]: "])
def test_text_before_a_traceback(before: str) -> None:
    """A line that was not ended, or a prefix of all lines, does not hide that there is a traceback."""
    raised = run("raise ValueError('bad')").decode()
    if before.startswith("["):
        raised = "".join(before + line for line in raised.splitlines(keepends=True)) + "[rank1]: done\n"
        before = ""
    assert read_message(Exited(1), Ending(0.0, stderr=before + raised)).exception == "ValueError: bad"


def test_errors_without_a_traceback() -> None:
    """Errors of syntax count as exceptions; the error of a launcher counts if no other is known."""
    error = read_message(Exited(1), Ending(0.0, stderr=run("def f(:"))).exception
    assert error.startswith("SyntaxError: ")
    launcher = "torch.distributed.elastic.multiprocessing.errors.ChildFailedError"
    stderr = (
        f'started\nTraceback (most recent call last):\n  File "a.py", line 1, in run\n{launcher}:\n====\nb.py FAILED\n'
    )
    assert message(stderr) == f"{launcher}: b.py FAILED"


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("nosuchprogram --lr 1", "nosuchprogram: command not found"),
        ("nosuch 2>/dev/null", ""),
        ("echo x | nosuch; exit 127", "nosuch: command not found"),
        ("conda activate ml", f"conda: command not found{REMEDY}"),
        ("module load cuda", f"module: command not found{REMEDY}"),
    ],
)
def test_missing_programs(shell: str, command: str, expected: str) -> None:
    """At exit code 127 the error names the program; for functions of a login shell, also the remedy."""
    environment = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run([shell, "-c", command], capture_output=True, check=False, env=environment)
    assert message(done.stderr, Exited(done.returncode)) == expected


@pytest.mark.parametrize(
    ("stderr", "code", "expected"),
    [
        ("sh: 1: [[: not found\n", 127, "[[: command not found" + REMEDY),
        ("sh: 1: source: not found\n", 127, "source: command not found" + REMEDY),
        ("zsh:1: command not found: conda\n", 127, "conda: command not found" + REMEDY),
        ("sh: conda: not found\n", 127, "conda: command not found" + REMEDY),
        ("sh: 1: echo a; exit 3: not found\n", 127, "echo a; exit 3: command not found" + ONE_WORD_REMEDY),
        ("sh: 1: /opt/my app/run: not found\n", 127, "/opt/my app/run: command not found"),
        ("sh: 1: ./train.sh: not found\n", 127, "./train.sh: command not found"),
        ("env: 'python9': No such file or directory\n", 127, "env: 'python9': No such file or directory"),
        ("CondaError: Run 'conda init' before 'conda activate'\n", 1, None),
        ("sh: 1: set: Illegal option -o pipefail\n", 2, None),
        ("sh: 1: Bad substitution\n", 2, None),
        ('sh: 1: Syntax error: "(" unexpected\n', 2, None),
    ],
)
def test_words_of_another_shell(stderr: str, code: int, expected: str | None) -> None:
    """The error of a command that ``/bin/sh`` does not understand names the option."""
    assert message(stderr, Exited(code)) == (expected or stderr.strip() + REMEDY)


@pytest.mark.parametrize(
    "word",
    [
        *("[[", "declare", "function", "let", "mapfile", "popd", "pushd", "readarray", "shopt", "source", "typeset"),
        *("activate", "conda", "deactivate", "mamba", "micromamba", "ml", "module", "nvm", "pyenv", "workon"),
    ],
)
def test_words_that_need_the_remedy(word: str) -> None:
    """The remedy follows words of bash and functions of a login shell."""
    assert message(f"sh: 1: {word}: not found\n", Exited(127)) == f"{word}: command not found{REMEDY}"


def test_summary_of_pytest() -> None:
    """Without anything on standard error, it is the first line of pytest's summary; no exception is known."""
    ending = Ending(0.0, stdout="....F\nFAILED test_a.py::test_b - assert 1 == 2\nFAILED test_c.py\n1 failed\n")
    assert read_message(Exited(1), ending) == Message("", "", "FAILED test_a.py::test_b - assert 1 == 2")
    assert read_message(Exited(1), Ending(0.0, stdout="some output\n")) == Message("", "", "")


def test_length() -> None:
    """It has at most 300 characters; the remedy is kept."""
    error = error_of(Exited(1), Ending(0.0, stderr="x" * 100_000))
    assert error is not None
    assert (len(error), error[-3:]) == (MAX_ERROR_CHARS, "xx…")
    error = error_of(Exited(2), Ending(0.0, stderr=f"{'x' * 400}: Bad substitution\n"))
    assert error is not None
    assert len(error) == MAX_ERROR_CHARS
    assert error.endswith(REMEDY)


def test_end_of_a_long_stream() -> None:
    """Of a stream that was cut, the tail counts."""
    assert error_of(Exited(1), Ending(0.0, stderr="begin\n", stderr_tail="the end\n")) == "exit code 1: the end"
    assert (
        error_of(Exited(1), Ending(0.0, stderr="begin\n", stderr_tail=b"the \xff end\n"))
        == "exit code 1: the \ufffd end"
    )


@pytest.mark.parametrize(
    "outcome", [Exited(0), Cancelled(), TimedOut(3.0), Lost("worker-1"), Signalled(9), Signalled(15)]
)
def test_what_did_not_fail_by_itself(outcome: Outcome) -> None:
    """The output of a command that was ended from outside does not say why."""
    assert error_of(outcome, Ending(0.0, stderr="loading\n")) == outcome.error


def test_crash() -> None:
    """A signal that a program causes itself follows a message."""
    aborted = Signalled(6)
    assert error_of(aborted, Ending(0.0, stderr="terminate called\n")) == "killed by SIGABRT: terminate called"
