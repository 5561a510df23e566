"""How long and with which pauses a store is asked, and what is told of it when it does not answer."""

import random
import re
import time
from collections.abc import Sequence

from fanfold.errors import AccessError, StoreError

PATIENCE_SECONDS = 180.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 15.0
REFUSED = re.compile("status code: 40[13]|NoSuchBucket|ContainerNotFound|NoSuchContainer|bucket does not exist")
# Where credentials are looked for when none are given. Machines in a cloud have them there, and may be slow to say so.
NO_CREDENTIALS = re.compile(r"169\.254\.|metadata\.google")


class Patience:
    """How long one request is repeated."""

    def __init__(self, where: str, seconds: float, secrets: Sequence[str]) -> None:
        """Begin to ask. `where` and what the store says are told in errors, without the secrets."""
        self._where, self._seconds, self._secrets = where, seconds, secrets
        self.renew()

    def renew(self) -> None:
        """Begin anew: the store has answered."""
        self._until = time.monotonic() + self._seconds
        self._pause = FIRST_PAUSE_SECONDS

    def check(self, error: Exception, refused: re.Pattern[str] = REFUSED) -> None:
        """Raise an AccessError, if that is what the store says.

        Raises:
            AccessError: the store has no such bucket, or refuses the credentials.
        """
        said = told(error, self._secrets)
        if refused.search(said):
            msg = f"{self._where}: {said}; check the name of the bucket, the credentials, and what they allow"
            raise AccessError(msg) from None

    def wait(self, error: Exception) -> None:
        """Pause after an error, before the request is repeated.

        Raises:
            AccessError: the store has no such bucket, or refuses the credentials.
            StoreError: it was asked for long enough.
        """
        self.check(error)
        if time.monotonic() + self._pause > self._until:
            self.check(error, NO_CREDENTIALS)
            msg = f"{self._where}: {told(error, self._secrets)}"
            raise StoreError(msg) from None
        # Many that were turned away together do not come back together.
        time.sleep(self._pause * random.uniform(0.5, 1))  # noqa: S311 - not a secret
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)


def told(error: Exception, secrets: Sequence[str]) -> str:
    """Return what a store said, in one line, and no secret: a query may be signed, a body may repeat it."""
    # A name may have control characters: they are told as Python writes them.
    escaped = re.sub(r"[\x00-\x09\x0b-\x1f\x7f]", lambda found: repr(found[0])[1:-1], str(error))
    text, _, debug = escaped.partition("\n\nDebug source")
    begin, *rest = re.sub(r"\?\S*", "", text).split("<", 1)
    said = re.findall("<(?:Code|Message)>([^<]*)", "".join(("<", *rest)))
    # Why there is no connection is only told to developers.
    because = re.findall(r'(?:message|error): "([^"]+)"', debug)[-1:]
    line = " ".join(" ".join((begin, *said, *because)).split())[:500].rstrip(" :")
    for secret in secrets:
        line = line.replace(secret, "…")
    return line
