"""Inverted index, the map side. A line is `document id<TAB>text`: it names its own place."""


def places(line, auxiliary_data):
    document_id, _, text = line.partition("\t")
    return [(word, document_id) for word in text.split()]
