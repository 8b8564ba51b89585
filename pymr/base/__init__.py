"""The ground: errors, fault points, counters, durable writes, locks. Knows nothing of jobs or clusters."""
