"""Word count, the map side: a line becomes one item for each of its words."""


def words(line, auxiliary_data):
    return [(word, 1) for word in line.split()]
