"""Aggregation of a JSON web log, the reduce side: requests, bytes and the largest reply of a path."""


def statistics(group, auxiliary_data):
    sizes = group.values
    return [(group.key, (len(sizes), sum(sizes), max(sizes)))]
