"""What is read afterwards: a page for each student, a report on the class, a page of a learner's own progress."""
