"""What the console shows, decided without a screen; and the threads that read the cluster."""
