"""A job's tasks on an external engine, such as Dask: it places them, moves bytes and tries again."""
