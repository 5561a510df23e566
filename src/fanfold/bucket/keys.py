"""Keys that cannot be the path of a file: `a//b`, `..`, control characters. obstore gives no list that has one."""

import re
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import quote, unquote_plus, urlencode
from xml.etree import ElementTree as ET

import obstore
from obstore.store import S3Store

from fanfold.bucket.connections import check, send

SIGNED_FOR = timedelta(minutes=5)


def is_path(key: str) -> bool:
    """Say whether a key can be the path of a file."""
    return not any(part in {"", ".", ".."} or re.search(r"[\x00-\x1f\x7f]", part) for part in key.split("/"))


def listed(store: S3Store, prefix: str, after: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each key of S3 below a prefix and behind another key, with its size, e_tag, and time of change, as S3 says.

    Keys are relative to the prefix of the store.
    """
    top = f"{store.prefix}/" if store.prefix else ""
    signed = obstore.sign(store, "GET", "-", SIGNED_FOR)
    bucket_url = signed.partition("?")[0].removesuffix(f"/{quote(top)}-")
    is_more = True
    while is_more:
        # What is signed is a folder without a name in an endpoint that ends with the prefix: that adds a slash to it.
        query = {
            "encoding-type": "url",
            "list-type": 2,
            "start-after": top + after,
            "prefix": (top + prefix).rstrip("/"),
        }
        page_url = f"{bucket_url}?{urlencode(query, quote_via=quote)}"
        page = S3Store(
            config={**store.config, "endpoint": page_url, "virtual_hosted_style_request": True},
            client_options={"allow_http": True},
        )
        url = obstore.sign(page, "GET", "", SIGNED_FOR)
        answer = send("GET", url)
        check(answer)
        found = ET.fromstring(answer.data)  # noqa: S314 - of the store that holds the feed
        for one in found.iterfind("{*}Contents"):
            after = unquote_plus(one.findtext("{*}Key", "")).removeprefix(top)
            yield after, [one.findtext(f"{{*}}{name}", "") for name in ("Size", "ETag", "LastModified")]
        is_more = found.findtext("{*}IsTruncated") == "true"
