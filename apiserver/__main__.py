"""The ``wharfinger`` command."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

from apiserver.config import ConfigError, Settings
from apiserver.flags import build_parser, load_settings
from apiserver.release import VERSION


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a verb; the exit code is 0 when all went well, 1 for a failure, 2 for wrong usage."""
    try:
        given = build_parser().parse_args(arguments)
        if given.verb == "version":
            print(f"wharfinger {VERSION}")
            return 0
        settings = load_settings(given)
    except ConfigError as error:
        print(f"wharfinger: {error}", file=sys.stderr)
        return 2
    try:
        match given.verb:
            case "check":
                return _check(settings)
            case "migrate":
                return _migrate(settings, given.to)
            case _:
                # Everything that is loaded now stays: the collector need not look at it, now or later.
                gc.disable()
                from apiserver.daemon import serve
                from apiserver.logs import configure_logging

                configure_logging(settings.log_level, settings.log_format)
                serve(settings, lambda: load_settings(given))
                return 0
    except ConfigError as error:
        print(f"wharfinger: {error}", file=sys.stderr)
        return 1


def _check(settings: Settings) -> int:
    from apiserver.preflight import problems

    found = list(problems(settings))
    for problem in found:
        print(f"wharfinger: {problem}", file=sys.stderr)
    if not found:
        print("wharfinger: this machine and these settings will do")
    return 1 if found else 0


def _migrate(settings: Settings, to: str | None) -> int:
    from apiserver.dataroot import DataRootLock
    from store import migrate
    from store.database import DatabaseError

    with DataRootLock(settings.data_root):
        try:
            before = migrate.current(settings.database)
            wanted = to or migrate.HEAD
            if before is not None and (wanted == "base" or wanted < before <= migrate.HEAD):
                migrate.downgrade(settings.database, wanted)
            else:
                migrate.upgrade(settings.database, wanted)
            after = migrate.current(settings.database)
        except DatabaseError as error:
            raise ConfigError(str(error)) from None
    print(f"wharfinger: schema {before or 'none'} -> {after or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
