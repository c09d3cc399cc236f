"""Several threads on one model: factorisations release Python's lock, so large maps gain from them."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import threadpoolctl

from smallarea.area_level.collapsed import CollapsedModel

Item = TypeVar("Item")
Answer = TypeVar("Answer")

# Items between two looks at the caller's callback, which is where a run can be cancelled.
CHUNK = 48
THREADS_FROM = 2000


class ModelPool:
    """Threads that each own a copy of the model; answers come back in the order of the items.

    Parameters
    ----------
    model : CollapsedModel
        The model; it is cloned for every further thread.
    workers : int
        Threads; 0 for all cores on large maps, one on small ones.
    """

    def __init__(self, model: CollapsedModel, workers: int) -> None:
        # On small maps threads only wait for each other.
        count = workers or (_available_cores() if len(model.data.y) >= THREADS_FROM else 1)
        self._models: queue.SimpleQueue[CollapsedModel] = queue.SimpleQueue()
        for k in range(count):
            self._models.put(model if k == 0 else model.clone())
        self._threads = ThreadPoolExecutor(max_workers=count)
        # The parallelism is here: BLAS threads of their own would fight with these over many tiny matrices.
        self._blas = threadpoolctl.threadpool_limits(limits=1, user_api="blas")

    def map(
        self,
        work: Callable[[CollapsedModel, Item], Answer],
        items: Sequence[Item],
        between: Callable[[int], None] | None = None,
    ) -> list[Answer]:
        """Apply ``work(model, item)`` to every item.

        Parameters
        ----------
        work : callable
            Must depend on the item alone, so that the number of threads does not show in the answers.
        items : sequence
            What to work on.
        between : callable, optional
            Called in the caller's thread every few items with the number that is done; what it raises stops the work.

        Returns
        -------
        list
            Answers in the order of the items.
        """

        def one(item: Item) -> Answer:
            model = self._models.get()
            try:
                return work(model, item)
            finally:
                self._models.put(model)

        answers: list[Answer] = []
        for start in range(0, len(items), CHUNK):
            answers += self._threads.map(one, items[start : start + CHUNK])
            if between is not None:
                between(len(answers))
        return answers

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._blas.restore_original_limits()


def _available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)
