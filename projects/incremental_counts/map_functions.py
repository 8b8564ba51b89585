"""Sightings of birds, the map side: of the notes, and of counts that earlier runs have made of them.

A note is `date,place,bird,number`; a count is a line of an output, the JSON of `[bird, number]`.
"""

import json


def sightings(line, auxiliary_data):
    _, _, bird, number = line.split(",")
    return [(bird, int(number))]


def counts(line, auxiliary_data):
    bird, number = json.loads(line)
    return [(bird, number)]
