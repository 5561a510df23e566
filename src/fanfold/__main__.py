"""`fanfold`, and `python -m fanfold`: the first lines of the command line."""

from fanfold import interrupt


def main() -> None:
    """Run the command line and exit; from here on, SIGINT ends it well."""
    interrupt.install()
    from fanfold.cli import main as run

    run()


if __name__ == "__main__":
    main()
