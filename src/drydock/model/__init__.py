"""Values only: the evidence as it was read, verdicts, plans and results. Standard library only, except documents/."""
