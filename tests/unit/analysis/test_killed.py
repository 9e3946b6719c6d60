"""A process may be killed at any moment: the next one goes on, and gives the bits of an undisturbed run."""

import os
import signal
from itertools import count
from pathlib import Path

import pytest

import preflens.analysis.analyze as module
from preflens import Analysis, Comparison
from preflens.errors import InputError
from preflens.records import storage
from tests.cases import comparisons
from tests.cases.interrupted import Interrupter, assert_same, run, timeless
from tests.cases.pairs import TEXT_ROWS

# Python 3.12 warns of it where there are threads; the child does nothing that waits for one.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def killed(work, *, at):
    """Work in a process of its own that is killed at a moment when something on the disk has changed or will.

    Returns:
        Whether it lived to the end.
    """
    child = os.fork()
    if child == 0:
        try:
            _die(at)
            work()
        except BaseException:  # nothing of pytest may run in this process
            os._exit(2)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    return not os.WIFSIGNALED(status)


def _die(at):
    """Let the process kill itself right before or after the n-th change on the disk."""
    moments = count()

    def mortal(change):
        def changed(*arguments, **more):
            for moment in ("before", "after"):
                if next(moments) == at:
                    os.kill(os.getpid(), signal.SIGKILL)
                if moment == "before":
                    found = change(*arguments, **more)
            return found

        return changed

    storage._put_on_disk = mortal(storage._put_on_disk)
    Path.replace = mortal(Path.replace)
    Path.unlink = mortal(Path.unlink)


def analysis(out=None):
    return run(out, update_batch_size=3, verify_batches=1)


@pytest.mark.slow
def test_an_analysis_that_is_killed_at_any_moment_goes_on_with_the_same_bits(tmp_path):
    whole, most = analysis(), 0
    for at in range(0, 200, 2):
        out = tmp_path / str(at)
        lived = killed(lambda out=out: analysis(out), at=at)
        finished = len(list(out.glob(".unfinished/*.npz")))
        if finished < most:
            assert_same(Analysis.load(out), whole)  # what is cleared is saved
        most = max(most, finished)
        assert_same(analysis(out), whole)
        assert_same(Analysis.load(out), whole)
        assert not (out / ".unfinished").exists()
        if lived:
            break
    else:
        pytest.fail("no run lived to the end")
    assert most == 3  # two batches and the real steps


def comparison(out=None):
    return comparisons.run(
        out=out,
        update_batch_size=3,
        objectives=("dpo", "slic"),
        verify_objectives=("dpo",),
        per_pair=True,
        learning_rate=1e-3,
    )


@pytest.mark.slow
def test_a_comparison_that_is_killed_at_any_moment_goes_on_with_the_same_bits(tmp_path):
    whole = comparison()
    for at in range(1, 400, 11):
        out = tmp_path / str(at)
        lived = killed(lambda out=out: comparison(out), at=at)
        for found in (comparison(out), Comparison.load(out)):
            assert found.rows.equals(whole.rows)
            assert found.pairs.equals(whole.pairs)
            assert found.held_out.equals(whole.held_out)
            assert timeless(found.metadata) == timeless(whole.metadata)
        assert not (out / ".unfinished-compare").exists()
        if lived:
            break
    else:
        pytest.fail("no run lived to the end")


def test_another_process_at_work_is_refused_and_its_death_frees_the_folder(tmp_path, monkeypatch):
    ready, say = os.pipe()
    child = os.fork()
    if child == 0:
        interrupter = Interrupter()

        def wait(*arguments, **more):
            if interrupter.measured == 2:
                os.write(say, b"1")
                signal.pause()
            return interrupter(*arguments, **more)

        module.batch_geometry = wait
        try:
            run(tmp_path)
        finally:
            os._exit(1)
    os.read(ready, 1)
    for arguments in ({}, {"seed": 1}, {"discard": True}):
        with pytest.raises(InputError, match=rf"Another run uses `.*/.unfinished` \(process {child} on"):
            run(tmp_path, **arguments)
    comparisons.run(TEXT_ROWS, out=tmp_path, objectives=("dpo",))  # has batches and results of its own
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert len(list(tmp_path.glob(".unfinished/*.npz"))) == 2
    assert_same(run(tmp_path), run())
