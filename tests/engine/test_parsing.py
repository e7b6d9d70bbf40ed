"""Sources are read on several threads at once: CPython's syntax trees are made by one of them at a time."""

import threading

from legato.engine.parsing import parsed

SOURCE = "\n".join(f"def f{n}(x):\n    return [({n} + x, {{'a': (x, [x, (x,)])}}) for x in range(x) if x > {n}]" for n in range(150))


def test_threads_parse_at_once() -> None:
    wrong: list[BaseException] = []

    def parse() -> None:
        try:
            for _ in range(8):
                assert len(parsed(SOURCE).body) == 150
        except BaseException as error:  # noqa: BLE001 told below
            wrong.append(error)

    threads = [threading.Thread(target=parse) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
