"""`python -m legato.server`: a server without the command line's comforts, for tests and containers."""

from __future__ import annotations

import argparse
import os
import sys

from legato.core.errors import LegatoError
from legato.server.connections import PATIENCE, Patience
from legato.server.run import Listening, serve
from legato.settings import home_of


def main() -> int:
    """Serve until told to stop; prints the address when ready."""
    parser = argparse.ArgumentParser(prog="python -m legato.server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4200, help="0 takes any free port")
    parser.add_argument("--database", default="", help="sqlite:////path.db or postgresql://…; default: legato.db in the home folder")
    parser.add_argument("--api-key", default="")
    parser.add_argument("--insecure-no-auth", action="store_true")
    parser.add_argument("--allowed-host", action="append", default=[], help="a further name to answer to; may be repeated")
    parser.add_argument("--base-path", default="", help="the path under which a proxy serves it")
    parser.add_argument("--public-url", default="", help="the address people open")
    parser.add_argument("--access-log", action="store_true")
    parser.add_argument("--head-timeout", type=float, default=PATIENCE.head_s, help="seconds in which a request's head has to be whole")
    parser.add_argument("--body-timeout", type=float, default=PATIENCE.body_s, help="seconds that a request's body may stand still")
    options = parser.parse_args()
    try:
        home = home_of(os.environ)
        serve(
            database_url=options.database or f"sqlite:///{home}/legato.db",
            home=home,
            host=options.host,
            port=options.port,
            api_key=options.api_key,
            insecure=options.insecure_no_auth,
            allowed_hosts=options.allowed_host,
            base_path=options.base_path,
            public_url=options.public_url,
            access_log=options.access_log,
            patience=Patience(options.head_timeout, options.body_timeout),
            ready=_print_address,
        )
    except LegatoError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _print_address(listening: Listening) -> None:
    sys.stdout.write(f"{listening.url}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
