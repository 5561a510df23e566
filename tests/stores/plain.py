"""Objects of a store by plain requests: what is compared must not come through what is tested.

S3 and the stand-in for Google check no signature; Azurite does.
"""

import base64
import email.utils
import hashlib
import hmac
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit
from xml.etree import ElementTree as ET

from tests.conftest import PATIENCE_SECONDS

# The only account of Azurite, and its key: it is in Azurite's documentation.
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
S3_KEY_ID = "fanfold"
OCTETS = "application/octet-stream"
AT_ONCE = 8
MORE_TRIES, PAUSE_SECONDS = 5, 0.2


def ask(url: str, method: str = "GET", content: bytes | None = None) -> bytes:
    """Send a request, and return the body of its answer."""
    headers = {"Content-Type": OCTETS} if content is not None else {}
    headers |= _of_azure(url, method, content) if _is_azure(url) else _of_s3()
    request = urllib.request.Request(url, content, headers, method=method)
    for left in range(MORE_TRIES, -1, -1):
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
                return bytes(answer.read())
        except OSError as error:
            # A server may be short of connections; moto cannot list while it carries out what its sender has left.
            is_refused = isinstance(error, urllib.error.HTTPError) and error.code != HTTPStatus.INTERNAL_SERVER_ERROR
            if is_refused or not left:
                raise
            time.sleep(PAUSE_SECONDS)
    raise AssertionError


def names(place_url: str) -> list[str]:
    """Return the names of all objects below a place, relative to it, sorted."""
    bucket_url, _, prefix = place_url.rpartition("/")
    keys = _of_container(bucket_url, prefix) if _is_azure(place_url) else _of_bucket(bucket_url, prefix)
    return sorted(key.removeprefix(f"{prefix}/") for key in keys)


def tree(place_url: str, but: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Return all objects below a place, but for those whose names begin in some way."""
    found = [name for name in names(place_url) if not (but and name.startswith(but))]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return dict(zip(found, threads.map(lambda name: ask(f"{place_url}/{quote(name)}"), found), strict=True))


def put(place_url: str, contents: dict[str, bytes]) -> None:
    """Make objects below a place."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for _ in threads.map(lambda name: ask(f"{place_url}/{quote(name)}", "PUT", contents[name]), contents):
            pass


def _of_bucket(bucket_url: str, prefix: str) -> list[str]:
    keys, page = list[str](), [""]
    while page:
        query = urlencode({"list-type": 2, "prefix": f"{prefix}/", "start-after": page[-1]})
        found = ET.fromstring(ask(f"{bucket_url}?{query}"))
        page = [key.text or "" for key in found.iterfind("{*}Contents/{*}Key")]
        keys += page
    return keys


def _of_container(container_url: str, prefix: str) -> list[str]:
    keys, marker = list[str](), None
    while marker != "":
        query = {"restype": "container", "comp": "list", "prefix": f"{prefix}/", "marker": marker or ""}
        found = ET.fromstring(
            ask(f"{container_url}?{urlencode({key: value for key, value in query.items() if value})}")
        )
        keys += [name.text or "" for name in found.iterfind("Blobs/Blob/Name")]
        marker = found.findtext("NextMarker") or ""
    return keys


def _is_azure(url: str) -> bool:
    return urlsplit(url).path.startswith(f"/{AZURE_ACCOUNT}/")


def _of_s3() -> dict[str, str]:
    credential = f"{S3_KEY_ID}/20260101/us-east-1/s3/aws4_request"
    signed = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0"
    return {"Authorization": signed, "Content-Type": OCTETS}


def _of_azure(url: str, method: str, content: bytes | None) -> dict[str, str]:
    """Return the headers of a request, signed with the key of the account."""
    address = urlsplit(url)
    headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    if method == "PUT" and not address.query:
        headers["x-ms-blob-type"] = "BlockBlob"
    told = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    asked = "".join(f"\n{name}:{value}" for name, value in sorted(parse_qsl(unquote(address.query))))
    # Method, encoding, language, length, MD5, type, date, four conditions, range.
    lines = [method, "", "", str(len(content or "") or ""), "", OCTETS if content is not None else "", *[""] * 6, ""]
    signed = "\n".join(lines) + f"{told}/{AZURE_ACCOUNT}{address.path}{asked}"
    digest = hmac.digest(base64.b64decode(AZURE_KEY), signed.encode(), hashlib.sha256)
    return {**headers, "Authorization": f"SharedKey {AZURE_ACCOUNT}:{base64.b64encode(digest).decode()}"}
