"""What only the thread runner can get wrong: waking too few threads."""

import threading

from legato import ThreadTaskRunner, flow, task
from legato.testing import Harness


@task
def meet(barrier: threading.Barrier) -> int:
    return barrier.wait(10)


def test_tasks_handed_in_at_once_run_at_once_however_many_threads_idle(h: Harness) -> None:
    @flow(task_runner=ThreadTaskRunner(3))
    def main() -> int:
        met = 0
        for n in range(300):
            size = 2 + n % 2  # now two threads idle, now three
            met += sum(meet.submit(barrier).result() >= 0 for barrier in [threading.Barrier(1)])
            barrier = threading.Barrier(size)
            futures = [meet.submit(barrier) for _ in range(size)]
            met += len([future.result() for future in futures])
        return met

    assert main() == 300 + 150 * 2 + 150 * 3
