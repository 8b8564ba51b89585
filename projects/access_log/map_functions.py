"""Traffic of a web server, the map side: lines in the common or combined log format of Apache and nginx."""

import re

import pymr

# host, identity, user, [time], "request" (quotes in it are escaped), status, bytes; the rest is not read.
LOG_LINE = re.compile(r'(\S+) \S+ \S+ \[[^\]]+\] "(?:[^"\\]|\\.)*" (\d{3}) (\d+|-)(?: |$)')


class MapFunctions:
    """The class form: one object per run, which hands out the function the job names."""

    def __init__(self, function_name):
        self.function_name = function_name

    def get_map_function(self):
        return getattr(self, self.function_name)

    def traffic_of_host_and_status(self, line, auxiliary_data):
        """Items ((host, status), (requests, bytes)); a line of another form is counted and left out."""
        match = LOG_LINE.match(line)
        if match is None:
            pymr.count("malformed lines")
            return []
        host, status, size = match.groups()
        return [((host, int(status)), (1, 0 if size == "-" else int(size)))]
