"""What lies in the landing of a feed in a bucket, and which objects of it nobody can take."""

from collections.abc import Callable, Collection, Iterator
from functools import partial
from itertools import filterfalse

from fanfold import durable
from fanfold.bucket.copies import Copies
from fanfold.bucket.objects import LARGEST_BYTES, Object
from fanfold.input_formats import is_hidden
from fanfold.mirrors import Landed

NOT_A_PATH = "its key cannot be the path of a file (a part of it is empty, '.' or '..', or has a control character)"
ALSO_A_FOLDER = "its name is also that of a folder"
TOO_LARGE = f"it has more than {LARGEST_BYTES:,} bytes, which no store copies in one request: land it in parts"


def listed(copies: Copies, folder: str, odd: list[str] | None = None) -> Iterator[Object]:
    """Yield the objects of landing, named as they are there; `odd` gets the names of those that cannot be files."""
    keys = list[str]()
    for found in copies.objects.list(folder, keys):
        name = found.name.removeprefix(f"{folder}/")
        if not is_hidden(name):
            copies.stand_in(found.name, found, visible=False)
            yield found._replace(name=name)
    if odd is not None:
        odd += filterfalse(is_hidden, (key.removeprefix(f"{folder}/") for key in keys))


def entries(copies: Copies, folder: str, taken: Collection[tuple[str, str]]) -> dict[str, Callable[[], Landed]]:
    """Return what is in landing and is not taken, by name. An object that cannot be a file here is held."""
    odd = list[str]()
    found = [one for one in listed(copies, folder, odd) if (one.name, one.e_tag) not in taken]
    folders = {one.name[:at] for one in found for at, letter in enumerate(one.name) if letter == "/"}
    longest = durable.longest_name(copies.root)

    def held(one: Object) -> str | None:
        if one.name in folders:
            return ALSO_A_FOLDER
        if any(len(part.encode()) > longest for part in one.name.split("/")[:-1]):
            return f"the name of a folder that it is in has more than {longest} bytes"
        return TOO_LARGE if one.size_bytes > LARGEST_BYTES else None

    def landed(one: Object) -> Landed:
        changed = one.modified.timestamp()
        return Landed(held(one), one.size_bytes, changed, changed)

    return {**{key: partial(Landed, NOT_A_PATH) for key in odd}, **{one.name: partial(landed, one) for one in found}}
