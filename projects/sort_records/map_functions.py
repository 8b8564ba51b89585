"""Sorting, the map side: the first 10 characters of a record are its key, the rest is its value."""


def split_record(line, auxiliary_data):
    return [(line[:10], line[10:])]
