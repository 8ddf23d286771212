"""Train many shares in several processes, keep each as it is finished."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

import torch
from tqdm import tqdm

from chromtransfer_plugin.efficiency.plan import Share
from chromtransfer_plugin.efficiency.train_draw import Job, Trained, train_share
from chromtransfer_plugin.errors import ChromTransferError

_job: Job | None = None  # of this process, if it is one of the pool


def train_shares(job: Job, shares: Sequence[Share], jobs: int) -> Generator[tuple[Share, Trained]]:
    """Yield shares with their results as they finish; the results do not depend on ``jobs``.

    Every model trains on one core: sums over several threads would depend on their number, and training several models
    at once uses the cores better anyway. If the consumer stops or the user interrupts, the processes are ended.

    Raises
    ------
    ChromTransferError
        What training raises; or if a process was killed.
    """
    if jobs == 1 or len(shares) < 2:
        for share in shares:
            with _one_thread():
                trained = train_share(job, share)
            yield share, trained
        return
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        min(jobs, len(shares)), multiprocessing.get_context("spawn"), initializer=_start, initargs=(job,)
    )
    finished = False
    try:
        # Large shares first: at the end no core waits long for the last one.
        futures = {pool.submit(_train, share): share for share in sorted(shares, key=lambda one: -one.n)}
        for future in as_completed(futures):
            yield futures[future], future.result()
        finished = True
    except BrokenProcessPool as error:
        raise ChromTransferError(
            "efficiency: one of the processes was killed, perhaps for want of memory. Draws that are finished are kept: run "
            f"the same command again with fewer than --jobs {jobs}."
        ) from error
    finally:
        if not finished:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()
        pool.shutdown()


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _start(job: Job) -> None:
    """Make a process of the pool ready."""
    global _job
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends this one
    torch.set_num_threads(1)
    tqdm.set_lock(
        threading.RLock()
    )  # tqdm's own is a semaphore of the system, which a process that is ended leaves behind
    _job = job


def _train(share: Share) -> Trained:
    assert _job is not None
    return train_share(_job, share)
