"""Many small tasks: thousands mapped in one flow, taken as they end, so that what is done with is forgotten; and a thousand that wait at once.

python count_words.py [how many]
"""

import asyncio
import sys

from legato import as_completed, flow, task

WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog"]


@task
def length(n: int) -> int:
    return len(WORDS[n % len(WORDS)])


@task
async def ask(n: int) -> int:
    await asyncio.sleep(0.05)  # as if something far away were asked
    return n % 2


@flow
def count(n: int) -> int:
    total = 0
    for future in as_completed(length.map(range(n))):
        total += future.result()
    return total


@flow
async def ask_many(n: int) -> int:
    return sum(await asyncio.gather(*[ask(i) for i in range(n)]))


if __name__ == "__main__":
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    print(f"{count(n)} letters in {n} words")
    print(f"{asyncio.run(ask_many(1000))} of 1000 said yes")
