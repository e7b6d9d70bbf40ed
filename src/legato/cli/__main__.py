"""`python -m legato.cli` is `legato` by another door."""

from legato.cli.main import main

if __name__ == "__main__":
    main()
