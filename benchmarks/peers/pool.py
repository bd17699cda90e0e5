"""The same work on a bare `ProcessPoolExecutor`: no store, no logs, no retries, nothing left after it.

python benchmarks/peers/pool.py hello | N
"""

import os
import sys
from concurrent.futures import ProcessPoolExecutor


def greet():
    return "hello"


def square(number):
    return number * number


def main(what):
    workers = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(workers) as pool:
        if what == "hello":
            for _ in range(3):
                assert pool.submit(greet).result() == "hello"
        else:
            n = int(what)
            assert sum(pool.map(square, range(n))) == (n - 1) * n * (2 * n - 1) // 6


if __name__ == "__main__":
    main(sys.argv[1])
