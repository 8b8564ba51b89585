"""`pymr run`: a job on this machine, in an embedded cluster that is watched, or in this process."""
