"""Many hosts at once: reports read into a database in memory, questions asked of it, answers shown."""
