"""Networks of the methods about labels."""
