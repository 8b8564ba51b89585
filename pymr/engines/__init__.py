"""A job's tasks on an external engine, such as Dask: it places them, moves bytes and tries again.

What is done in a task is that of `engine/`, unchanged: hence the same bytes. `driver` plans a run and ends
it, `map_side` and `reduce_side` are its tasks, `commit` takes what the engine has kept.
"""
