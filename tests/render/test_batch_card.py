"""The card of a batch as HTML and as text."""

from __future__ import annotations

from queuectl_nb.model.state import State
from queuectl_nb.render.batch_card import MAX_SHOWN, BatchView, RunningRow, batch_card
from queuectl_nb.store.error_groups import FailedJobs
from tests.render.test_cards import EVIL, HIDDEN, PAGE, check_html

COUNTS = {State.COMPLETED: 50, State.PROCESSING: 7, State.PENDING: 20, State.DEAD: 22, State.FAILED: 1}
RUNNING = RunningRow("a", "python train.py 0.1", 65.0, 0.25, {"loss": 0.5}, "epoch 3")


def failed(key: str, count: int, message: str = "ValueError: bad") -> FailedJobs:
    """Return a group of failures."""
    return FailedJobs(key, count, "exit", message, 0.0, 1.0, "job-3")


def test_text() -> None:
    """The text has the same facts as the HTML: counts, time left, running jobs, failures by reason."""
    view = BatchView(COUNTS, facts=["97 kept"], eta="About 14 min left", running=[RUNNING], groups=[failed("k", 23)])
    assert batch_card(view).text.splitlines() == [
        "Batch of 100 jobs: running, 97 kept",
        f"  [{'█' * 29}{'░' * 11}]",
        "  72 of 100 finished: 50 completed, 22 dead, 1 failed, 7 processing, 20 pending; About 14 min left",
        "  running:",
        "  a  25%  1 min 05 s  loss 0.5  python train.py 0.1",
        "  and 6 more",
        "  failures by reason:",
        "  23 exit: ValueError: bad (such as job-3; error k)",
    ]


def test_html() -> None:
    """Everything is escaped; only the first groups are shown; disabled buttons have no effect."""
    evil = RunningRow(EVIL, EVIL, 1.0, None, {EVIL: 1.0}, EVIL)
    groups = [failed(f'"{number}{EVIL}', 9, EVIL) for number in range(MAX_SHOWN + 2)]
    card = batch_card(BatchView(COUNTS, 3, [EVIL], EVIL, [EVIL], [evil], groups=groups), card_id=EVIL)
    check_html(card.html)
    assert not PAGE.search(card.html)
    assert not HIDDEN.search(card.html + card.text)
    assert card.html.count("<button") == 2 + MAX_SHOWN
    assert "and 2 more reasons" in card.html
    assert "3 deleted" in card.html
    finished = batch_card(BatchView({State.COMPLETED: 2}), card_id="card").html
    assert finished.count(" disabled>") == 2
    assert "<button" not in batch_card(BatchView(COUNTS)).html


def test_states() -> None:
    """The state of the whole is that of its jobs; an empty batch has no bar."""
    assert batch_card(BatchView({})).text == "Batch of 0 jobs: no jobs"
    for counts, text in (
        ({State.PENDING: 1, State.DEAD: 1}, "Batch of 2 jobs: waiting"),
        ({State.COMPLETED: 1}, "Batch of 1 job: completed"),
        ({State.COMPLETED: 1, State.CANCELLED: 2}, "Batch of 3 jobs: 2 not completed"),
    ):
        assert batch_card(BatchView(counts)).text.startswith(text)


def test_constant_height() -> None:
    """The rows of running jobs that have ended are kept free while the batch runs."""
    assert 'style="min-height: 9em' in batch_card(BatchView(COUNTS, running=[], rows=5)).html
    assert 'style="min-height' not in batch_card(BatchView({State.COMPLETED: 5}, rows=5)).html
