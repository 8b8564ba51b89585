"""The reduce side of both mapreduce jobs of the pipeline."""


def total(group, auxiliary_data):
    return [(group.key, sum(group.values))]


def listing(group, auxiliary_data):
    return [(group.key, dict(sorted(group.values)))]
