"""`python -m hiper`."""

from hiper.cli.main import main

if __name__ == "__main__":
    main()
