"""``python -m tests.benchmarks growth|soak|restart``: start an engine, measure, print, remove all."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from tests.benchmarks.scenarios import growth, restart, soak
from tests.support.engine import Engine


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("scenario", choices=("growth", "soak", "restart"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 100, 500], help="numbers of running containers")
    parser.add_argument("--lives", type=int, default=5000)
    parser.add_argument("--execs", type=int, default=5000)
    parser.add_argument("--running", type=int, default=200)
    options = parser.parse_args()
    with Engine().ready() as engine:
        for line in lines(engine, options):
            print(line, flush=True)


def lines(engine: Engine, options: argparse.Namespace) -> Iterator[str]:
    """The table of the scenario."""
    if options.scenario == "growth":
        return growth(engine, options.sizes)
    if options.scenario == "soak":
        return soak(engine, options.lives, options.execs)
    return restart(engine, options.running)


if __name__ == "__main__":
    main()
