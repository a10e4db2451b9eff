"""Values only, standard library only: what evidence is read into and what verdicts are made of."""
