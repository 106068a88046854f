"""Handing in: whose a file is, what stands in it, and what each answer needs; nothing is executed."""
