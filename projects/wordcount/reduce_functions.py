"""Word count, the reduce side: the ones of a word become its count."""


def total(group, auxiliary_data):
    return [(group.key, sum(group.values))]
