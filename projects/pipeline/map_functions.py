"""The map side of both mapreduce jobs of the pipeline."""


def words(line, auxiliary_data):
    return [(word, 1) for word in line.split()]


def by_initial(line, auxiliary_data):
    word, count = line.split()
    return [(word[0], (word, int(count)))]
