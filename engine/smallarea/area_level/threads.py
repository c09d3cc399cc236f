"""Several threads on one model: compiled loops release Python's lock, so large maps gain from them."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import threadpoolctl

from smallarea.area_level.collapsed import CollapsedModel
from smallarea.cores import available_cores

Item = TypeVar("Item")
Answer = TypeVar("Answer")

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
        n, k = model.data.shape
        # On small maps threads only wait for each other.
        self._count = workers or (available_cores() if n * k >= THREADS_FROM else 1)
        self._models: queue.SimpleQueue[CollapsedModel] = queue.SimpleQueue()
        for i in range(self._count):
            self._models.put(model if i == 0 else model.clone())
        self._threads = ThreadPoolExecutor(max_workers=self._count)
        # The parallelism is here: BLAS threads of their own would fight with these over many tiny matrices.
        self._blas = threadpoolctl.threadpool_limits(limits=1, user_api="blas")

    def stream(self, work: Callable[[CollapsedModel, Item], Answer], items: Sequence[Item]) -> Iterator[Answer]:
        """Apply ``work(model, item)`` to every item, and hand the answers over one by one.

        Parameters
        ----------
        work : callable
            Must depend on the item alone, so that the number of threads does not show in the answers.
        items : sequence
            What to work on.

        Yields
        ------
        Answer
            Answers in the order of the items. Only few are kept waiting, since each may be large.
        """

        def one(item: Item) -> Answer:
            model = self._models.get()
            try:
                return work(model, item)
            finally:
                self._models.put(model)

        if self._count == 1:
            yield from map(one, items)
            return
        rest = iter(items)
        waiting = [self._threads.submit(one, item) for item in islice(rest, self._count + 1)]
        while waiting:
            answer = waiting.pop(0).result()
            waiting += [self._threads.submit(one, item) for item in islice(rest, 1)]
            yield answer

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._blas.restore_original_limits()
