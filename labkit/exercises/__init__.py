"""The exercises of each notebook: statements, checks, hints, solutions and named wrong answers."""
