"""Pure: what `input.envelope` may name."""

from collections.abc import Mapping

from fanfold.spec.paths import way_of


def check_envelope(envelope: list[str], pointer: str, fields: Mapping[str, str], *, is_declared: bool) -> None:
    """Check the fields around the records that are added to each record.

    Args:
        envelope: their paths.
        pointer: `input.records_at`.
        fields: `input.fields`.
        is_declared: whether only declared fields are columns.

    Raises:
        ValueError: one cannot be taken along; the message is what was expected.
    """
    keys = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    # The index of an array is not a key; of an object it is one.
    records = tuple(key for key in keys if not key.isdecimal())
    declared, ways = [way_of(path) for path in fields], [way_of(path) for path in envelope]
    for index, way in enumerate(ways):
        others = [records, tuple(keys), *ways[:index], *ways[index + 1 :]]
        if not records:
            msg = "input.records_at, since these fields are around the records"
        elif any(way[: len(other)] == other or other[: len(way)] == way for other in others):
            msg = f"fields apart from each other, and beside the records at {pointer}"
        elif any(len(one) < len(way) and way[: len(one)] == one for one in declared):
            msg = f"no type in input.fields for what is around {envelope[index]!r}"
        elif is_declared and not any(one[: len(way)] == way for one in declared):
            msg = f"{envelope[index]!r}, or fields in it, in input.fields, as input.schema is declared"
        else:
            continue
        raise ValueError(msg)
