"""Traffic of a web server, the reduce side: requests and bytes are added up."""


class ReduceFunctions:
    """The class form: one object per run, which hands out the function the job names."""

    def __init__(self, function_name):
        self.function_name = function_name

    def get_reduce_function(self):
        return getattr(self, self.function_name)

    def total_traffic(self, group, auxiliary_data):
        """One item (key, (requests, bytes)): the same form as its input, so it serves as combine too."""
        requests = sum(value[0] for value in group.values)
        size = sum(value[1] for value in group.values)
        return [(group.key, (requests, size))]
