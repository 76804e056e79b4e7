"""What a Batch job is, what may be in it, and what to do next with it."""
