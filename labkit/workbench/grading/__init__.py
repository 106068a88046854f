"""Grading: submissions are read, their answers run where they can do no harm, and their values compared outside."""
