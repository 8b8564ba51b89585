"""Aggregation of a JSON web log, the map side: the bytes of each request under its path."""

import orjson


def bytes_of_path(line, auxiliary_data):
    entry = orjson.loads(line)
    return [(entry["path"], entry["bytes"])]
