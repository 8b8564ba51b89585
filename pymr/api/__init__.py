"""pymr from Python: Scheduler, ManageCluster, run."""
