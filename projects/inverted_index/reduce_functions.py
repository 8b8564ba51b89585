"""Inverted index, the reduce side: the places of a word, each once, in order."""


def distinct_places(group, auxiliary_data):
    return [(group.key, sorted(set(group.values)))]
