"""Sightings of birds, the reduce side: numbers of a bird become their sum, whether of notes or of counts."""


def total(group, auxiliary_data):
    return [(group.key, sum(group.values))]
