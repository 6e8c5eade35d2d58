"""The search for networks of a data set that suit a board: short trainings, of which the best go on."""
